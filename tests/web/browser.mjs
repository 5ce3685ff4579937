// What the page's tests share: the site, a Chromium with WebGPU on SwiftShader, screenshots, reference files.

import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { serve } from "./serve.mjs";

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** What a built-in model should answer. @param {string} name */
export function builtinReference(name) {
  return JSON.parse(readFileSync(join(ROOT, "models", `${name}.reference.json`), "utf8"));
}

/** The built site: what `cargo xtask web` leaves. */
export const SITE = process.env.TRICE_SITE ?? join(ROOT, "dist/site");
const CHROMIUM = process.env.TRICE_CHROMIUM ?? "/usr/bin/chromium";
export const SHARED = resolve(ROOT, process.env.TRICE_SHARED ?? "../shared");

/** A software GPU computes slowly, on a busy machine very slowly: this only ends what hangs. */
export const PATIENCE = 240_000;

const WEBGPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

const FLAGS = ["--headless=new", "--no-sandbox", "--disable-background-networking", ...WEBGPU];

/** @param {string[]} [flags] */
export function openBrowser(flags = []) {
  return chromium.launch({ executablePath: CHROMIUM, args: [...FLAGS, ...flags] });
}

/** A browser that keeps everything in a folder, as a user's does. @param {string} folder */
export function openProfile(folder) {
  return chromium.launchPersistentContext(folder, { executablePath: CHROMIUM, args: FLAGS });
}

/**
 * Serves the site, its models no faster than said, and opens a browser on it.
 * @param {number} [modelBytesPerSecond]
 * @param {string[]} [flags]
 */
export async function openSite(modelBytesPerSecond, flags) {
  if (!existsSync(join(SITE, "index.html"))) throw new Error(`no site in ${SITE}: run \`cargo xtask web\``);
  const server = await serve(SITE, { modelBytesPerSecond });
  const browser = await openBrowser(flags);
  const close = async () => {
    await browser.close();
    await server.close();
  };
  return { url: server.url, browser, close, stopServing: () => server.close() };
}

/**
 * A fresh page. Errors of its scripts and refusals of its content policy are collected in `faults`.
 * @param {{browser: import("playwright-core").Browser}} site
 * @param {import("playwright-core").BrowserContextOptions & {isChecked?: boolean}} [options] `isChecked`, as it is unless told: the device was checked on an
 *   earlier visit, so that pages which rest a while do not do so beside the test.
 */
export async function newPage(site, { isChecked = true, ...options } = {}) {
  // Only tests of what happens offline want every file fetched once more.
  const context = await site.browser.newContext({ viewport: { width: 1100, height: 760 }, serviceWorkers: "block", ...options });
  if (isChecked) await context.addInitScript(rememberCheck);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  /** @type {string[]} */
  const faults = [];
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    if (process.env.VERBOSE) console.log(message.text());
    if (/Content Security Policy|panicked/.test(message.text())) faults.push(message.text());
  });
  return { page, faults };
}

/** In the page: SwiftShader was found to compute rightly. */
function rememberCheck() {
  const checks = [{ dtype: "Q4_0", math: "f32", n_columns: 1, nmse: 0, is_right: true }];
  try {
    const key = ["google swiftshader", "", navigator.userAgent].join("\n");
    if (localStorage.getItem("trice.self-test") === null) localStorage.setItem("trice.self-test", JSON.stringify({ key, checks }));
  } catch {
    // A page without storage, such as an empty one.
  }
}

/** The page that comes runs no engine of its own; what its content policy needs stays. @param {import("playwright-core").Page} page */
export function withoutApp(page) {
  return page.route("**/web/app.js", (route) => route.fulfill({ contentType: "text/javascript", body: 'import "./trusted.js";' }));
}

/** A page of the site that runs no engine of its own. @param {{url: string, browser: import("playwright-core").Browser}} site */
export async function blankPage(site) {
  const { page } = await newPage(site);
  await withoutApp(page);
  await page.goto(site.url);
  return page;
}

/** A picture into the folder that SHOTS names. @param {import("playwright-core").Page} page @param {string} name */
export async function shoot(page, name) {
  if (!process.env.SHOTS) return;
  mkdirSync(process.env.SHOTS, { recursive: true });
  await page.screenshot({ path: join(process.env.SHOTS, `${name}.png`) });
}

/** The folder of a reference model, or null after saying loudly that it is missing. @param {string} name */
export function sharedModel(name) {
  const folder = join(SHARED, "models", name);
  if (existsSync(folder)) return folder;
  console.log(`skipped: ${folder} is not there (set TRICE_SHARED)`);
  return null;
}

/** @param {string} folder @returns {any} */
export function readReference(folder) {
  return JSON.parse(readFileSync(join(folder, "reference.json"), "utf8"));
}

/**
 * Loads a folder of this machine into the page through a file field, as a person would choose it, and leaves the model
 * in `window.model`.
 * @param {import("playwright-core").Page} page
 * @param {string} folder
 */
export async function loadFolder(page, folder) {
  await page.evaluate(() => {
    const field = Object.assign(document.createElement("input"), { type: "file", id: "test-folder" });
    field.setAttribute("webkitdirectory", "");
    document.body.append(field);
  });
  await page.setInputFiles("#test-folder", folder);
  await page.evaluate(async () => {
    const { load } = await import(new URL("web/engine.js", document.baseURI).href);
    const field = /** @type {HTMLInputElement} */ (document.getElementById("test-folder"));
    /** @type {any} */ (window).model = await load(field.files);
    field.remove();
  });
}
