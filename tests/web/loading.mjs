// What waiting for shaders costs beside a slow line: `node loading.mjs [KILOBYTES_PER_S …]` loads the built-in story model in a
// fresh page from a server that sends model files no faster, and prints milliseconds from asking to the first token.

import { newPage, openSite } from "./browser.mjs";

const rates = process.argv.slice(2).map(Number);
const REPEATS = Number(process.env.REPEATS ?? 3);

/** @param {Awaited<ReturnType<typeof openSite>>} site */
async function firstToken(site) {
  const { page } = await newPage(site);
  await page.goto(new URL("web/bench.html?model=none", site.url).href);
  const result = await page.evaluate(async () => {
    const { load } = await import(new URL("web/engine.js", new URL("..", location.href)).href);
    const start = performance.now();
    /** @type {number[]} */
    const ends = [];
    const onProgress = (/** @type {{stage: string, done: number, total: number}} */ { stage }) => {
      ends[stage === "reading" ? 0 : 1] = performance.now() - start;
    };
    const model = await load("builtin:stories", { onProgress });
    const loaded = performance.now() - start;
    await model.generate({ prompt: "Once", raw: true }, { maxTokens: 1, temperature: 0 });
    const total = performance.now() - start;
    return { read: Math.round(ends[0]), compiled: Math.round(ends[1]), loaded: Math.round(loaded), total: Math.round(total) };
  });
  await page.context().close();
  return result;
}

for (const rate of rates.length > 0 ? rates : [Infinity, 1000, 300]) {
  for (let i = 0; i < REPEATS; i++) {
    // A browser's GPU process keeps what it has compiled: each run has its own.
    const site = await openSite(rate * 1000);
    console.log(JSON.stringify({ kilobytes_per_s: rate, ...(await firstToken(site)) }));
    await site.close();
  }
}
