// A page that the system closed while it loaded a model, and a device with too little memory for a context.

import assert from "node:assert/strict";
import { test } from "node:test";
import { newPage, openSite, shoot } from "./browser.mjs";

const READY = "#stage-words:text('Ready')";

test("a page that died while it loaded says so on the next visit, and offers a smaller context", async (t) => {
  const site = await openSite(150_000);
  t.after(() => site.close());
  const { page: first } = await newPage(site);
  await first.goto(site.url);
  await first.locator("#stage-words", { hasText: "Reading" }).waitFor();
  const session = await first.context().newCDPSession(first);
  const died = first.waitForEvent("crash");
  session.send("Page.crash").catch(() => {}); // Nobody is left to answer it.
  await died;
  const page = await first.context().newPage();
  await page.goto(site.url);
  await page.locator("#crashed", { hasText: "Storyteller" }).waitFor();
  await shoot(page, "crashed");
  await page.getByRole("button", { name: "Load it with a smaller context" }).click();
  assert.ok(await page.locator("#crashed").isHidden());
  await page.context().close();
});

test("leaving or reloading a page while it loads is no crash, nor is another tab", async (t) => {
  const site = await openSite(150_000);
  t.after(() => site.close());
  const { page } = await newPage(site);
  await page.goto(site.url);
  await page.locator("#stage-words", { hasText: "Reading" }).waitFor();
  const other = await page.context().newPage();
  await other.goto(site.url);
  await other.locator("#stage-words", { hasText: /Opening|Reading/ }).waitFor();
  assert.ok(await other.locator("#crashed").isHidden(), "the first tab is alive");
  await other.close({ runBeforeUnload: false });
  await page.reload();
  await page.locator("#stage-words", { hasText: "Reading" }).waitFor();
  assert.ok(await page.locator("#crashed").isHidden());
  await page.context().close();
});

test("a device without memory for the context is offered fewer tokens", async (t) => {
  const site = await openSite();
  t.after(() => site.close());
  const { page, faults } = await newPage(site);
  // Buffers for keys and values beyond 100 kB are asked for as the largest there may be, for which no memory is: 256 tokens fit.
  await page.route("**/web/shim.js", async (route) => {
    const script = await (await route.fetch()).text();
    const body = `${script}
      const { createBuffer } = GPUDevice.prototype;
      GPUDevice.prototype.createBuffer = function (descriptor) {
        const tooLarge = descriptor.label?.includes("of one layer") && descriptor.size > 100_000;
        return createBuffer.call(this, tooLarge ? { ...descriptor, size: this.limits.maxBufferSize } : descriptor);
      };`;
    await route.fulfill({ contentType: "text/javascript", body });
  });
  await page.goto(site.url);
  await page.locator("#stage-smaller").waitFor();
  await shoot(page, "smaller");
  for (let tries = 0; tries < 5 && !(await page.locator(READY).isVisible()); tries++) {
    await page.locator("#stage-smaller").click();
    await page.locator(`${READY}, #stage-smaller:visible`).first().waitFor();
  }
  assert.ok(await page.locator(READY).isVisible());
  assert.deepEqual(faults, []);
  await page.context().close();
});
