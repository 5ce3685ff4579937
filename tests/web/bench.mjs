// Trice's speed in a browser, on files of this machine: `node bench.mjs MODEL pp=64 tg=16 batch=1 reps=1` prints what
// web/bench.html shows, as one line of JSON. MODEL is a GGUF file, or the folder of an encoder.

import { statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { newPage, openSite } from "./browser.mjs";
import { serveHub } from "./serve.mjs";

const [model, ...options] = process.argv.slice(2);
if (!model || !options.every((option) => option.includes("="))) {
  console.error("usage: node bench.mjs MODEL [pp=64] [tg=16] [batch=1] [reps=1]");
  process.exit(2);
}

const path = resolve(model);
const isFolder = statSync(path).isDirectory();
// A hub on loopback serves files and folders alike, so the page loads them by the code that loads published models.
const hub = await serveHub(isFolder ? path : dirname(path));
const site = await openSite();
const { page } = await newPage(site);
const address = new URL("web/bench.html", site.url);
const name = isFolder ? "hf:test/model" : `hf:test/model:${basename(path)}`;
address.search = new URLSearchParams([["model", name], ["endpoint", hub.url], ...options.map((option) => option.split("="))]).toString();
await page.goto(address.href);
await page.waitForFunction(() => document.title === "done" || document.title === "error", undefined, { timeout: 0 });
const result = JSON.parse((await page.textContent("#result")) ?? "null");
console.log(JSON.stringify(result));
await site.close();
await hub.close();
process.exitCode = result.error ? 1 : 0;
