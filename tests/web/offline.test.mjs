// The page without a network, after one visit with it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { newPage, openSite, shoot } from "./browser.mjs";

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
