// What a first visit fetches until the first token of an answer is there: `node bytes.mjs`, after `cargo xtask web`. Bytes by kind, as they are and as a
// host sends them that compresses (gzip -9, models as they are: they hardly shrink); what comes later, such as what the service worker
// keeps for a visit without a network, is not counted.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { newPage, openSite, SITE } from "./browser.mjs";

const site = await openSite();
const { page } = await newPage(site);
/** @type {Set<string>} */
const asked = new Set();
page.context().on("request", (request) => asked.add(new URL(request.url()).pathname));
await page.goto(site.url);
await page.getByRole("textbox", { name: "Message" }).fill("Once upon a time");
await page.keyboard.press("Enter");
await page.waitForFunction(() => document.querySelector(".answer .text")?.textContent?.trim() && !document.querySelector(".answer .waiting"));
const until = [...asked];
await site.close();

const base = new URL(site.url).pathname;
/** @type {Record<string, {files: number, bytes: number, gzip: number}>} */
const kinds = {};
for (const path of until) {
  const file = readFileSync(join(SITE, path.slice(base.length) || "index.html"));
  const kind = extname(path).slice(1) || "html";
  const entry = (kinds[kind] ??= { files: 0, bytes: 0, gzip: 0 });
  entry.files += 1;
  entry.bytes += file.length;
  entry.gzip += kind === "gguf" ? file.length : execFileSync("gzip", ["-9c"], { input: file, maxBuffer: 1 << 26 }).length;
}
const all = Object.values(kinds).reduce((sum, { files, bytes, gzip }) => ({ files: sum.files + files, bytes: sum.bytes + bytes, gzip: sum.gzip + gzip }), { files: 0, bytes: 0, gzip: 0 });
for (const [kind, entry] of [...Object.entries(kinds), ["all", all]]) console.log(JSON.stringify({ kind, .../** @type {any} */ (entry) }));
