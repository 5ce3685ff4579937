// The page without a network, after one visit with it.

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { newPage, openBrowser, openSite, shoot, SITE } from "./browser.mjs";
import { serve } from "./serve.mjs";

const READY = "#stage-words:text('Ready')";

test("after the first visit the page opens, chats and classifies without a network", async (t) => {
  const site = await openSite();
  t.after(() => site.close());
  const { page, faults } = await newPage(site, { serviceWorkers: "allow" });
  await page.goto(site.url);
  await page.locator(READY).waitFor();
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  // No server at all is more than a browser that believes itself offline.
  await site.stopServing();
  await page.context().setOffline(true);
  await page.reload();
  await page.locator(READY).waitFor();
  await page.getByRole("textbox", { name: "Message" }).fill("One day");
  await page.keyboard.press("Enter");
  await page.locator(".answer .figures").waitFor();
  await page.getByRole("tab", { name: "Classify" }).click();
  await page.getByRole("button", { name: "Classify", exact: true }).click();
  await page.waitForSelector(".score");
  await shoot(page, "offline");
  assert.deepEqual(faults, []);
});

test("a new version shows at once, and nothing of the old one is left", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "trice-site-"));
  t.after(() => rmSync(folder, { recursive: true }));
  cpSync(SITE, folder, { recursive: true });
  const server = await serve(folder);
  t.after(() => server.close());
  const browser = await openBrowser();
  t.after(() => browser.close());
  const { page, faults } = await newPage({ browser }, { serviceWorkers: "allow" });
  await page.goto(server.url);
  await page.locator(READY).waitFor();
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  const edit = (/** @type {string} */ name, /** @type {string} */ from, /** @type {string} */ to) => {
    const file = join(folder, name);
    const text = readFileSync(file, "utf8");
    assert.ok(text.includes(from), name);
    writeFileSync(file, text.replaceAll(from, to));
  };
  edit("web/strings.js", "Answers in a trice", "Answers in a jiffy");
  edit("sw.js", /"version":"(\w+)"/.exec(readFileSync(join(folder, "sw.js"), "utf8"))[1], "0123456789abcdef");
  await page.reload();
  await page.getByText("Answers in a jiffy").waitFor();
  await page.waitForFunction(async () => (await caches.keys()).join() === "trice-0123456789abcdef");
  // Another program at this address: the worker steps aside for good.
  rmSync(join(folder, "sw.js"));
  writeFileSync(join(folder, "index.html"), "<title>another</title>");
  await page.reload();
  assert.equal(await page.title(), "another");
  assert.equal(await page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).length), 0);
  assert.deepEqual(faults, []);
});

test("the page can be installed", async (t) => {
  const site = await openSite();
  t.after(() => site.close());
  const { page } = await newPage(site, { serviceWorkers: "allow" });
  await page.goto(site.url);
  const session = await page.context().newCDPSession(page);
  const { errors, data } = await session.send("Page.getAppManifest");
  assert.deepEqual(errors, []);
  assert.equal(JSON.parse(data).name, "Trice");
  const { installabilityErrors } = await session.send("Page.getInstallabilityErrors");
  assert.deepEqual(installabilityErrors.filter(({ errorId }) => errorId !== "in-incognito"), []);
});
