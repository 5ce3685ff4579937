// The models sheet as a person uses it: choosing a file of a repository, pausing and going on, what is kept and its deletion.

import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { newPage, openSite, shoot } from "./browser.mjs";
import { serveHub } from "./serve.mjs";

/** @type {Awaited<ReturnType<typeof openSite>>} */
let site;
before(async () => (site = await openSite()));
after(() => site?.close());

const READY = "#stage-words:text-is('Ready')";

/**
 * A page whose hub mirror has a repository of two models, and its models sheet open.
 * @param {import("node:test").TestContext} t
 * @param {import("./serve.mjs").Faults} [faults]
 * @param {Parameters<typeof newPage>[1]} [options]
 */
async function setUp(t, faults = {}, options = {}) {
  const folder = mkdtempSync(join(tmpdir(), "trice-hub-"));
  copyFileSync(new URL("../../models/stories.gguf", import.meta.url), join(folder, "stories-Q4_0.gguf"));
  copyFileSync(new URL("../../models/intent.gguf", import.meta.url), join(folder, "intent-Q8_0.gguf"));
  const hub = await serveHub(folder, faults);
  const { page, faults: wrong } = await newPage(site, options);
  t.after(async () => {
    await page.context().close();
    await hub.close();
    rmSync(folder, { recursive: true });
  });
  await page.addInitScript((endpoint) => localStorage.setItem("trice.settings", JSON.stringify({ endpoint })), hub.url);
  await page.goto(site.url);
  await page.locator("#open-models").click();
  return { hub, page, wrong };
}

/** @param {import("playwright-core").Page} page @param {string} name */
async function ask(page, name) {
  await page.locator("#hub-name").fill(name);
  await page.keyboard.press("Enter");
}

test("a repository shows its models, one is downloaded, kept, used again and deleted", async (t) => {
  const { hub, page, wrong } = await setUp(t);
  assert.ok(await page.locator("#kept").isHidden());
  await ask(page, "test/model");
  const files = page.locator("#hub-files li");
  await files.nth(1).waitFor();
  assert.match(await page.locator("#hub-note").textContent(), /^2 models in test\/model: \(from http/);
  const sizes = (await files.allTextContents()).join(" | ");
  assert.match(sizes, /stories-Q4_0\.ggufDownload 3\.\d MB \| intent-Q8_0\.ggufDownload \d\.\d MB/);
  await page.getByText(/about [\d,–]+ tokens\/s here · fits this device/).first().waitFor();
  await shoot(page, "models-files");
  await files.filter({ hasText: "stories" }).getByRole("button").click();
  await page.locator("#model-name", { hasText: "test/model:stories-Q4_0.gguf" }).waitFor();
  await page.locator(READY).waitFor();

  await page.reload();
  await page.locator(READY).waitFor();
  hub.asked.length = 0;
  await page.locator("#open-models").click();
  const row = page.locator("#kept-models li");
  await row.waitFor();
  assert.match(await row.textContent(), /test\/model:stories-Q4_0\.gguf3\.\d MB · last used \w+ \d+, \d+/);
  assert.match(await page.locator("#kept-total").textContent(), /^[\d.]+ MB of the [\d.]+ GB that this browser grants this page\.$/);
  await shoot(page, "models-kept");
  await page.getByRole("button", { name: "Use test/model:stories-Q4_0.gguf" }).click();
  await page.locator(READY).waitFor();
  assert.deepEqual(hub.asked, []);

  await page.locator("#open-models").click();
  await page.getByRole("button", { name: "Delete test/model:stories-Q4_0.gguf" }).click();
  await page.getByText(/^Delete 3\.\d MB\?$/).waitFor();
  await page.getByRole("button", { name: "Keep it" }).click();
  await page.getByRole("button", { name: "Delete test/model:stories-Q4_0.gguf" }).click();
  await row.getByRole("button", { name: "Delete", exact: true }).click();
  await page.locator("#kept").waitFor({ state: "hidden" });
  assert.deepEqual(wrong, []);
});

test("a download shows its speed, is paused, and goes on where it was", async (t) => {
  const { hub, page, wrong } = await setUp(t, { bytesPerSecond: 400_000 });
  await ask(page, "test/model:Q8_0");
  await page.getByText(/^Downloading test\/model:Q8_0 · [\d.]+ (kB|MB) of \d\.\d MB · [\d.]+ (kB|MB)\/s · \d+ s left$/).waitFor();
  await shoot(page, "download");
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText(/^Downloading .* · paused$/).waitFor();
  await shoot(page, "paused");
  Object.assign(hub.faults, { bytesPerSecond: undefined });
  hub.asked.length = 0;
  await page.getByRole("button", { name: "Go on" }).click();
  await page.locator(READY).waitFor();
  assert.ok(hub.asked.every(({ start }) => Number(start) > 0), JSON.stringify(hub.asked));
  // It is an encoder: it belongs to Classify, wherever it was asked for.
  await page.getByRole("tab", { name: "Classify", selected: true }).waitFor();
  assert.deepEqual(wrong, []);
});

test("a download that breaks off offers to go on", async (t) => {
  const { hub, page } = await setUp(t, { spent: "cut", budget: 1_500_000 });
  await ask(page, "test/model:Q4_0");
  await page.locator("#stage-go-on").waitFor();
  assert.match(await page.locator("#stage-words").textContent(), /^The model could not be fetched: .*stories-Q4_0\.gguf/);
  await shoot(page, "broken-off");
  hub.faults.budget = undefined;
  await page.locator("#stage-go-on").click();
  await page.locator(READY).waitFor();
});

test("without room a model is run without being kept", async (t) => {
  const { page, wrong } = await setUp(t);
  const session = await page.context().newCDPSession(page);
  await session.send("Storage.overrideQuotaForOrigin", { origin: new URL(site.url).origin, quotaSize: 1_000_000 });
  await ask(page, "test/model:Q4_0");
  // Chats take some of the megabyte.
  await page.getByText(/^There is too little room to keep this model: .*: 3\.2 MB to keep, this browser has 0\.\d MB free/).waitFor();
  await shoot(page, "no-room");
  await page.getByRole("button", { name: "Run it without keeping it" }).click();
  await page.locator(READY).waitFor();
  await page.locator("#open-models").click();
  await page.locator("#in-use li", { hasText: "test/model:Q4_0" }).waitFor();
  assert.ok(await page.locator("#kept").isHidden());
  assert.deepEqual(wrong, []);
});

test("the mirror is one press from where it matters", async (t) => {
  const { hub, page } = await setUp(t);
  await page.getByRole("button", { name: "Hub mirror" }).click();
  const field = page.locator("input[name=endpoint]");
  assert.equal(await field.inputValue(), hub.url);
  assert.ok(await field.evaluate((element) => element === document.activeElement));
});

test("the device is checked once its model rests, and the panel remembers what was found", async (t) => {
  const { page, wrong } = await setUp(t, {}, { isChecked: false });
  await page.keyboard.press("Escape");
  await page.locator("#open-device", { hasText: "· checked" }).waitFor();
  await page.locator("#open-device").click();
  const found = await page.locator("#self-test-result").textContent();
  assert.match(found, /^All \d+ products are right/);
  assert.ok(await page.getByRole("button", { name: "Check its results" }).isEnabled());
  // What was found is said at once on the next visit; what was wrong, in the footer too.
  await page.evaluate(() => {
    const kept = JSON.parse(localStorage.getItem("trice.self-test"));
    kept.checks[0].is_right = false;
    localStorage.setItem("trice.self-test", JSON.stringify(kept));
  });
  await page.reload();
  await page.locator("#open-device", { hasText: "· computes wrongly" }).waitFor();
  await shoot(page, "computes-wrongly");
  await page.locator("#open-device").click();
  assert.match(await page.locator("#self-test-result").textContent(), /^1 of \d+ products are wrong/);
  assert.deepEqual(wrong, []);
});

test("the sheet fits a phone, light and dark, in both languages", async (t) => {
  for (const [colorScheme, locale] of /** @type {const} */ ([["light", "zh-CN"], ["dark", "en"]])) {
    const { page } = await setUp(t, {}, { viewport: { width: 360, height: 720 }, colorScheme, locale });
    await ask(page, "test/model");
    await page.locator("#hub-files li").nth(1).waitFor();
    assert.equal(await page.locator("#models").evaluate((sheet) => sheet.scrollWidth - sheet.clientWidth), 0);
    await shoot(page, `phone-${colorScheme}-models-files`);
    await page.locator("#hub-files button").first().click();
    await page.waitForFunction(() => document.querySelector("#stage-bar").closest(".ready"));
    await page.locator("#open-models").click();
    await page.locator("#kept-models li").waitFor();
    assert.equal(await page.locator("#models").evaluate((sheet) => sheet.scrollWidth - sheet.clientWidth), 0);
    await shoot(page, `phone-${colorScheme}-models-kept`);
  }
});

test("the first page foretells what its models would do here, once nothing else is asked", async () => {
  const { page, faults } = await newPage(site);
  await page.goto(site.url);
  await page.locator("#cards .note", { hasText: /tokens\/s here · (fits|may not fit)/ }).first().waitFor();
  await page.locator("#cards .card", { hasText: "MiniLM" }).locator(".note", { hasText: /fit/ }).waitFor();
  assert.deepEqual(faults, []);
  await page.context().close();
});
