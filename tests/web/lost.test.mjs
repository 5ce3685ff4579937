// A GPU that goes away while it answers: the model comes back, the answer goes on, and where there is none any more that is said.

import assert from "node:assert/strict";
import { test } from "node:test";
import { newPage, openSite, shoot, withoutApp } from "./browser.mjs";

const READY = "#stage-words:text('Ready')";

/** Without it a browser refuses WebGPU for some minutes to a page that it suspects of two crashes, which these tests are not about. */
const UNSUSPECTED = ["--disable-domain-blocking-for-3d-apis"];

/** A page of a browser of its own, since a browser starts its GPU process anew twice only. @param {import("node:test").TestContext} t */
async function ownPage(t) {
  const site = await openSite(undefined, UNSUSPECTED);
  t.after(() => site.close());
  const { page, faults } = await newPage(site);
  const session = await site.browser.newBrowserCDPSession();
  const crash = () => session.send("Browser.crashGpuProcess");
  return { site, page, faults, crash };
}

/** The same without the page's own engine. @param {import("node:test").TestContext} t */
async function engineAlone(t) {
  const own = await ownPage(t);
  await withoutApp(own.page);
  await own.page.goto(own.site.url);
  return own;
}

/** Generates in the page, calling `lose` at the tokens of `at`. @param {import("playwright-core").Page} page @param {number[]} at @param {() => Promise<any>} lose */
async function generateLosing(page, at, lose) {
  await page.exposeFunction("lose", lose);
  return await page.evaluate(async (at) => {
    const { load } = await import(new URL("web/engine.js", document.baseURI).href);
    let nLost = 0;
    const model = await load("builtin:stories", { onLost: () => nLost++ });
    const prompt = { prompt: "One day, a little dog", raw: true };
    const options = { maxTokens: 60, temperature: 0.8, seed: 7 };
    const whole = await model.generate(prompt, options);
    let [nTokens, text] = [0, ""];
    const next = [...at];
    const resumed = await model.generate(prompt, options, (piece) => {
      nTokens += piece.tokens.length;
      text += piece.text;
      // One loss after the other: what comes before the first has happened asks for no second.
      if (next.length === 0 || nTokens < next[0] || nLost < at.length - next.length) return;
      next.shift();
      /** @type {any} */ (window).lose();
    });
    await model.dispose();
    return { whole, resumed, nTokens, text, nLost };
  }, at);
}

test("an answer goes on over two crashes of the GPU process, token for token", async (t) => {
  const { page, faults, crash } = await engineAlone(t);
  const { whole, resumed, nTokens, text, nLost } = await generateLosing(page, [5, 20], crash);
  assert.equal(nLost, 2);
  assert.deepEqual(resumed.tokens, whole.tokens);
  assert.equal(resumed.text, whole.text);
  assert.equal(text, whole.text);
  assert.equal(nTokens, whole.tokens.length);
  assert.equal(resumed.finish_reason, whole.finish_reason);
  assert.deepEqual(faults, []);
});

test("an answer goes on over a device that is destroyed", async (t) => {
  const { page, faults } = await engineAlone(t);
  const destroy = async () => {
    const [worker] = page.workers();
    await worker.evaluate(() => /** @type {any} */ (globalThis).triceDevice.destroy());
  };
  const { whole, resumed, nLost } = await generateLosing(page, [5], destroy);
  assert.equal(nLost, 1);
  assert.deepEqual(resumed.tokens, whole.tokens);
  assert.deepEqual(faults, []);
});

test("labels come back after a crash, too", async (t) => {
  const { page, faults, crash } = await engineAlone(t);
  await page.exposeFunction("lose", crash);
  const [before, after] = await page.evaluate(async () => {
    const { load } = await import(new URL("web/engine.js", document.baseURI).href);
    const model = await load("builtin:sentiment");
    const texts = ["I loved it", "It was dull"];
    const before = await model.classify(texts);
    await /** @type {any} */ (window).lose();
    return [before, await model.classify(texts)];
  });
  assert.deepEqual(after, before);
  assert.deepEqual(faults, []);
});

test("in the page an answer goes on, and after too many crashes the page says what is missing", async (t) => {
  const { site, page, faults, crash } = await ownPage(t);
  await page.goto(site.url);
  await page.locator(READY).waitFor();
  for (let n = 1; n <= 3; n++) {
    await page.getByRole("textbox", { name: "Message" }).fill("One day");
    await page.keyboard.press("Enter");
    await page.locator(".answer.streaming .under:has-text('tokens')").waitFor();
    await crash();
    if (n === 3) break;
    await page.locator(".answer:last-child .figures").waitFor();
    assert.equal(await page.locator(".answer .failure").count(), 0);
    await page.locator(READY).waitFor();
  }
  await page.locator("#no-webgpu", { hasText: "no graphics processor" }).waitFor();
  assert.match(await page.locator(".answer .failure").textContent(), /did not come back/);
  await shoot(page, "gpu-gone");
  assert.deepEqual(faults, []);
});
