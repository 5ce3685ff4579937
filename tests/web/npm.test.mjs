// The npm package as others use it: from another origin by a plain script, and built by a bundler.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { newPage, openBrowser } from "./browser.mjs";
import { serve } from "./serve.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
/** What `cargo xtask web` and `cargo xtask test` leave. */
const PACKAGE = process.env.TRICE_NPM ?? resolve(HERE, "../../dist/npm");

/** @param {string[]} args @param {string} cwd */
function npm(args, cwd) {
  const { status, stdout, stderr } = spawnSync("npm", args, { cwd, encoding: "utf8" });
  assert.equal(status, 0, stdout + stderr);
  return stdout;
}

/** A folder that is gone after the test. @param {import("node:test").TestContext} t */
function temporary(t) {
  const folder = mkdtempSync(join(tmpdir(), "trice-npm-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Serves a folder and opens its page in a browser, until the title says that it is done. @param {import("node:test").TestContext} t @param {string} folder */
async function run(t, folder) {
  const server = await serve(folder, { base: "/" });
  t.after(() => server.close());
  const browser = await openBrowser();
  t.after(() => browser.close());
  const { page, faults } = await newPage({ browser });
  await page.goto(server.url);
  await page.waitForFunction(() => document.title === "done");
  return { page, faults };
}

test("the package holds what it needs and nothing else", () => {
  const [{ files, size }] = JSON.parse(npm(["pack", "--dry-run", "--json"], PACKAGE));
  const names = files.map(({ path }) => path);
  for (const wanted of ["package.json", "README.md", "web/engine.js", "web/engine.d.ts", "web/worker.js", "pkg/trice_bg.wasm", "models/stories.gguf"]) {
    assert.ok(names.includes(wanted), `${wanted} is missing: ${names.join(" ")}`);
  }
  const strangers = names.filter((name) => /chat|classify|strings|style|sw\.js|index\.html|\.test\./.test(name));
  assert.deepEqual(strangers, []);
  assert.ok(size > 1e6, `${size} bytes`);
});

test("a page of another origin loads it as from a CDN", async (t) => {
  const cdn = await serve(PACKAGE, { cors: true });
  t.after(() => cdn.close());
  const folder = temporary(t);
  const script = `
    import { load } from "${cdn.url}web/engine.js";
    const model = await load("builtin:sentiment");
    const [{ labels }] = await model.classify(["What a lovely day!"]);
    document.body.textContent = labels[0].label;
    await model.dispose();
    document.title = "done";`;
  writeFileSync(join(folder, "index.html"), `<!doctype html><body><script type="module">${script}</script>`);
  const { page, faults } = await run(t, folder);
  assert.equal(await page.textContent("body"), "POSITIVE");
  assert.deepEqual(faults, []);
});

test("a bundler builds it without any settings", async (t) => {
  const folder = temporary(t);
  cpSync(join(HERE, "vite"), folder, { recursive: true, filter: (path) => !/node_modules|dist/.test(path.slice(HERE.length)) });
  npm(["install", "--no-audit", "--no-fund", "--install-links", PACKAGE], folder);
  npm(["run", "build"], folder);
  const built = join(folder, "dist");
  const { page, faults } = await run(t, built);
  assert.match(await page.textContent("#label"), /POSITIVE \d+ %/);
  assert.ok((await page.textContent("#story")).length > 40);
  // Through the official client and through the AI SDK, whole and in a stream.
  const answer = await page.textContent("#openai");
  assert.ok(answer.length > 20, answer);
  assert.equal(await page.textContent("#ai-sdk"), answer);
  assert.equal(await page.textContent("#near"), "a puppy, of length 1.000");
  assert.match(await page.textContent("#refused"), /^400 .*messages must be a list.* 400 .*messages must be a list/);
  const wasm = readdirSync(join(built, "assets")).filter((name) => name.endsWith(".wasm"));
  assert.ok(wasm.some((name) => statSync(join(built, "assets", name)).size > 1e6), wasm.join(" "));
  assert.deepEqual(faults, []);
});
