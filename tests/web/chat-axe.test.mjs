// axe over every part of the page, in light and dark.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { markdownReady, streamAnswer } from "./answers.mjs";
import { newPage, openSite } from "./browser.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** @type {Awaited<ReturnType<typeof openSite>>} */
let site;
before(async () => (site = await openSite()));
after(() => site?.close());

/** What axe finds wrong, and how many rules it held. @param {import("playwright-core").Page} page */
async function violations(page) {
  await page.evaluate(AXE);
  const { violations, passes } = await page.evaluate(() => /** @type {any} */ (window).axe.run(document));
  assert.ok(passes.length > 15, `axe held ${passes.length} rules only`);
  return violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target.join(" ")}: ${failureSummary}`));
}

const ANSWER = "# A heading\n\nText with `code`, a [link](https://example.org/) and\n\n- a list\n\n> quoted\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n```rust\nfn main() {}\n```\n";

for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
  test(`axe finds nothing in ${colorScheme}`, async () => {
    const { page, faults } = await newPage(site, { colorScheme, reducedMotion: "reduce" });
    const found = {};
    /** @param {string} name */
    const check = async (name) => (found[name] = await violations(page));
    await page.goto(site.url);
    await page.locator("#stage-words:text('Ready')").waitFor();
    await check("first visit");
    await markdownReady(page);
    await streamAnswer(page, ANSWER, 30, "Hm.");
    await check("an answer");
    await page.getByRole("textbox", { name: "Message" }).fill("One day");
    await page.keyboard.press("Enter");
    await page.locator(".answer .under:has-text('tokens')").waitFor();
    await page.keyboard.press("Escape");
    await page.locator(".answer .figures").waitFor();
    await page.locator(".again").click();
    await page.locator(".answer .versions").waitFor();
    await check("a chat");
    await page.locator("button.edit").click();
    await check("editing");
    for (const sheet of ["models", "settings", "device", "system"]) {
      await page.locator(`#open-${sheet}`).click();
      await check(sheet);
      await page.locator("dialog:modal [data-close]").click();
    }
    await page.locator("#chat-list .quiet").first().click();
    await check("menu");
    await page.keyboard.press("Escape");
    await page.getByRole("tab", { name: "Classify" }).click();
    await page.getByRole("button", { name: "Classify", exact: true }).click();
    await page.locator(".shaded").waitFor();
    await check("classify");
    await page.setViewportSize({ width: 360, height: 720 });
    await check("phone, classify");
    await page.getByRole("tab", { name: "Chat" }).click();
    await check("phone, chat");
    await page.locator("#open-chats").click();
    await check("phone, chats");
    // What axe ought to find, it does.
    await page.evaluate(() => document.querySelector("#chats-sheet .sheet-head").append(document.createElement("button")));
    assert.match((await violations(page)).join(), /^button-name/);
    assert.deepEqual(Object.fromEntries(Object.entries(found).filter(([, list]) => list.length > 0)), {});
    assert.deepEqual(faults, []);
    await page.context().close();
  });
}
