import { copyFileSync, mkdtempSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { newPage, openSite } from "./browser.mjs";
import { serveHub } from "./serve.mjs";
const site = await openSite();
const folder = mkdtempSync("/tmp/hubx-");
const model = process.argv[2];
copyFileSync(model, join(folder, "big.gguf"));
for (const rate of [Infinity, 8e6]) for (const ranges of [1, 2, 4]) {
  const hub = await serveHub(folder, rate === Infinity ? {} : { bytesPerSecond: rate });
  const { page } = await newPage(site);
  await page.route("**/web/app.js", (r) => r.fulfill({ contentType: "text/javascript", body: "" }));
  await page.goto(site.url);
  const out = await page.evaluate(async ({ endpoint, ranges }) => {
    const { load } = await import(new URL("web/engine.js", document.baseURI).href);
    const start = performance.now(); let fetched = 0, total = 0;
    const model = await load("hf:test/model", { endpoint, contextLength: 512, keep: { ranges }, onProgress: (e) => { if (e.stage === "downloading") { fetched = performance.now() - start; total = e.total; } } });
    const ms = performance.now() - start; const heap = model.info.heap_bytes; await model.dispose();
    const again = performance.now(); const m2 = await load("hf:test/model", { endpoint, contextLength: 512, keep: { ranges } }); const warm = performance.now() - again; const heap2 = m2.info.heap_bytes; await m2.dispose();
    return { MBps: +(total / fetched / 1000).toFixed(1), fetched: Math.round(fetched), load: Math.round(ms), warm: Math.round(warm), heapMB: heap / 1e6, warmHeapMB: heap2 / 1e6 };
  }, { endpoint: hub.url, ranges });
  console.log(JSON.stringify({ rate, ranges, ...out }));
  await page.context().close(); await hub.close();
}
await site.close();
