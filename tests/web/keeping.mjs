// What keeping a model costs: `node keeping.mjs FILE.gguf` loads it from a local hub with 1, 2 and 4 ranges at once, on a fast line and on
// connections of 8 MB/s, then from what is kept, and once without keeping it. Prints JSON lines: megabytes per second while fetching,
// milliseconds of each load, and the engine's heap.

import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { newPage, openSite, withoutApp } from "./browser.mjs";
import { serveHub } from "./serve.mjs";

const [file] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "trice-hub-"));
symlinkSync(resolve(file), join(folder, basename(file)));
const site = await openSite();

/** @param {number | undefined} bytesPerSecond @param {boolean | {ranges: number}} keep */
async function measure(bytesPerSecond, keep) {
  const hub = await serveHub(folder, { bytesPerSecond });
  const { page } = await newPage(site);
  await withoutApp(page);
  await page.goto(site.url);
  const found = await page.evaluate(
    async ({ endpoint, keep }) => {
      const { load } = await import(new URL("web/engine.js", document.baseURI).href);
      const once = async () => {
        const start = performance.now();
        let rate = 0;
        const onProgress = (/** @type {any} */ { stage, done }) => {
          if (stage === "downloading") rate = done / (performance.now() - start) / 1000;
        };
        const model = await load("hf:test/model", { endpoint, keep, contextLength: 512, onProgress });
        const ms = Math.round(performance.now() - start);
        await model.dispose();
        return { ms, megabytes_per_s: Number(rate.toFixed(1)), heap_bytes: model.info.heap_bytes };
      };
      return { first: await once(), again: await once() };
    },
    { endpoint: hub.url, keep },
  );
  await page.context().close();
  await hub.close();
  return found;
}

for (const bytesPerSecond of [undefined, 8e6]) {
  for (const ranges of [1, 2, 4]) console.log(JSON.stringify({ bytesPerSecond, ranges, ...(await measure(bytesPerSecond, { ranges })) }));
}
console.log(JSON.stringify({ keep: false, ...(await measure(undefined, false)) }));
await site.close();
rmSync(folder, { recursive: true });
