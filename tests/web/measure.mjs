// What the page costs: `node measure.mjs [URL]` prints JSON. Opens the page and times it to the first token, then loads a
// random model of SmolLM2-135M's shape in a worker and reads how much memory the page and the engine take. Without a URL
// it serves dist/site.

import { newPage, openSite } from "./browser.mjs";

const site = await openSite();
const url = process.argv[2] ?? site.url;

/** Milliseconds from navigating to the first character that the model wrote. */
async function firstToken() {
  const { page } = await newPage(site);
  const start = performance.now();
  await page.goto(url);
  await page.getByRole("textbox", { name: "Message" }).fill("Once upon a time");
  await page.keyboard.press("Enter");
  // The answer repeats what was given and goes on; before that the same place holds words of waiting.
  const goesOn = () => {
    const text = document.querySelector(".answer .text:not(.waiting)");
    const given = text?.querySelector(".given")?.textContent ?? "";
    return text !== null && (text.textContent ?? "").length > given.length;
  };
  await page.waitForFunction(goesOn, undefined, { polling: "raf" });
  const elapsed = performance.now() - start;
  await page.context().close();
  return Math.round(elapsed);
}

async function memory() {
  const { page } = await newPage(site);
  await page.goto(new URL("web/bench.html?model=builtin:stories&pp=8&tg=1&reps=1", url).href);
  const result = await page.evaluate(async () => {
    const { load } = await import(new URL("web/engine.js", new URL("..", location.href)).href);
    const model = await load("random:135m:Q4_0", { contextLength: 1024 });
    const { tokens, timings } = await model.generate({ prompt: "Once", raw: true }, { maxTokens: 4, temperature: 0 });
    const stats = model.stats();
    return { tokens: tokens.length, timings, engine_heap_bytes: stats.heap_bytes, weight_bytes: stats.weight_bytes };
  });
  const heaps = [];
  for (const worker of page.workers()) {
    heaps.push(await worker.evaluate(() => /** @type {any} */ (performance).memory?.usedJSHeapSize ?? null));
  }
  const session = await page.context().newCDPSession(page);
  const { usedSize } = await session.send("Runtime.getHeapUsage");
  await page.context().close();
  return { ...result, page_js_heap_bytes: usedSize, worker_js_heap_bytes: heaps };
}

const first_token_ms = [];
for (let i = 0; i < 3; i++) first_token_ms.push(await firstToken());
console.log(JSON.stringify({ first_token_ms, "random:135m:Q4_0": await memory() }, null, 2));
await site.close();
