// The page on the program that serves it: `trice serve` answers instead of the browser's GPU, by one switch.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { resolve } from "node:path";
import { test } from "node:test";
import { newPage, openBrowser, ROOT, shoot, SITE } from "./browser.mjs";

/** What `cargo build` leaves, and `cargo xtask test` with it. */
const PROGRAM = process.env.TRICE_PROGRAM ?? resolve(ROOT, "target/debug/trice");
const READY = "#stage-words:text('Ready')";

/** A server of the built-in models with the page, its address once the models are there. @param {import("node:test").TestContext} t */
async function serveProgram(t) {
  const program = spawn(PROGRAM, ["serve", "--port", "0", "--site", SITE], { stdio: ["ignore", "pipe", "ignore"] });
  t.after(() => program.kill());
  let address = "";
  for await (const line of createInterface(program.stdout)) {
    if (line.startsWith("listening on ")) address = line.slice("listening on ".length);
    if (line.startsWith("ready: ")) return address;
  }
  throw new Error("the program ended");
}

test("the page chats and classifies on the program that serves it, and goes back", async (t) => {
  if (!existsSync(PROGRAM)) return t.skip(`no ${PROGRAM}: run \`cargo build\``);
  const address = await serveProgram(t);
  const browser = await openBrowser();
  t.after(() => browser.close());
  const { page, faults } = await newPage({ browser });
  /** @type {string[]} */
  const asked = [];
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  // As `trice serve --open` opens it.
  await page.goto(`${address}/?engine=native`);
  await page.locator(READY).waitFor();
  assert.equal(await page.textContent("#model-name"), "builtin:stories");
  await page.getByRole("textbox", { name: "Message" }).fill("Once upon a time");
  await page.keyboard.press("Enter");
  await page.locator(".answer .figures").waitFor();
  assert.match(await page.locator(".answer .figures").textContent(), /tokens\/s .* \d+ tokens/);
  assert.ok((await page.locator(".answer .text").textContent()).length > 40);
  await page.getByRole("tab", { name: "Classify" }).click();
  await page.locator(READY).waitFor();
  await page.locator("#classify-text").fill("I loved every minute 😀 of it");
  await page.getByRole("button", { name: "Classify", exact: true }).click();
  await page.locator(".score:first-child", { hasText: "POSITIVE" }).waitFor();
  await page.locator(".shaded .for").first().waitFor();
  await shoot(page, "native");
  assert.ok(asked.includes("/v1/completions") && asked.includes("/v1/classify"), asked.join(" "));
  assert.deepEqual(asked.filter((path) => path.endsWith(".wasm") && !path.includes("markdown")), [], "the engine of the browser is not fetched");
  await page.locator("#open-settings").click();
  await page.getByLabel("Engine").selectOption("browser");
  await page.keyboard.press("Escape");
  await page.locator("#model-name", { hasText: "Sentiment" }).waitFor();
  await page.locator(READY).waitFor();
  assert.ok(asked.some((path) => path.endsWith("trice_bg.wasm")));
  assert.deepEqual(faults, []);
});

test("without WebGPU the page runs on the program at once", async (t) => {
  if (!existsSync(PROGRAM)) return t.skip(`no ${PROGRAM}: run \`cargo build\``);
  const address = await serveProgram(t);
  const browser = await openBrowser();
  t.after(() => browser.close());
  const { page, faults } = await newPage({ browser });
  await page.addInitScript(() => Object.defineProperty(Navigator.prototype, "gpu", { value: undefined }));
  await page.addInitScript(() => delete (/** @type {any} */ (Navigator.prototype).gpu));
  await page.goto(address);
  await page.locator(READY).waitFor();
  assert.equal(await page.textContent("#model-name"), "builtin:stories");
  assert.ok(await page.locator("#no-webgpu").isHidden());
  assert.deepEqual(faults, []);
});
