// What a visit to a page costs with Trice and with its peers: `node visits.mjs PEERS [rounds=3] [model=models/llama-135m.Q4_0.gguf]`. PEERS is the
// folder that `cargo xtask bench --peers` sets up (target/peers), with a link `minilm` to the folder of all-MiniLM-L6-v2. A visit opens a page, loads the model and asks for a first result; the
// first one of a browser fetches everything, the next ones come from what it keeps. Prints a line of JSON per program: bytes of scripts and
// modules (as they are and gzip), seconds from opening to ready with everything kept, from asking to the first result, and the most
// memory: JavaScript's heap of the page, and all of the renderer's.

import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { openProfile, SITE } from "../web/browser.mjs";

const [peers, ...rest] = process.argv.slice(2);
if (!peers) {
  console.error("usage: node visits.mjs PEERS [rounds=3] [model=models/llama-135m.Q4_0.gguf]");
  process.exit(2);
}
const options = Object.fromEntries(rest.map((option) => option.split("=")));
const rounds = Number(options.rounds ?? 3);
const model = options.model ?? "models/llama-135m.Q4_0.gguf";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json" };
const RUNTIME = "/peers/browser/node_modules/@huggingface/transformers/node_modules";
const imports = {
  "onnxruntime-common": `${RUNTIME}/onnxruntime-common/dist/esm/index.js`,
  "onnxruntime-web/webgpu": `${RUNTIME}/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs`,
};
const PAGE = `<!doctype html><title>visit</title><script type="importmap">${JSON.stringify({ imports })}</script>`;

/** Files sent since the last visit began: bytes by address. @type {Map<string, number>} */
const sent = new Map();

/** The site at /site/, the peers at /peers/: with ranges, threads for WebAssembly, and the leave to keep what was sent. */
const server = createServer((request, response) => {
  const path = decodeURIComponent(new URL(request.url ?? "/", "http://x").pathname);
  response.setHeader("cross-origin-opener-policy", "same-origin").setHeader("cross-origin-embedder-policy", "require-corp");
  if (path === "/") return void response.setHeader("content-type", "text/html").end(PAGE);
  try {
    const file = path.startsWith("/site/") ? join(SITE, path.slice(6)) : join(peers, path.replace(/^\/peers\//, ""));
    const { size, mtimeMs } = statSync(file);
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    const [first, last] = range ? [Number(range[1]), range[2] ? Math.min(Number(range[2]), size - 1) : size - 1] : [0, size - 1];
    response.setHeader("content-type", TYPES[/** @type {keyof TYPES} */ (extname(file))] ?? "application/octet-stream");
    response.setHeader("accept-ranges", "bytes").setHeader("etag", `"${size}-${Math.round(mtimeMs)}"`).setHeader("cache-control", "max-age=3600");
    response.setHeader("content-length", last - first + 1);
    if (range) response.setHeader("content-range", `bytes ${first}-${last}/${size}`);
    response.writeHead(range ? 206 : 200);
    if (request.method === "HEAD") return void response.end();
    sent.set(file, (sent.get(file) ?? 0) + last - first + 1);
    response.end(readFileSync(file).subarray(first, last + 1));
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((done) => server.listen(0, "127.0.0.1", () => done(undefined)));
const base = `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (server.address()).port}`;

/** In the page: loads and leaves `ask`, which gives a first result. @type {Record<string, (where: any) => Promise<void>>} */
const PROGRAMS = {
  "trice: chat, webgpu": async ({ model }) => {
    const { load } = await import("/site/web/engine.js");
    const loaded = await load(new URL(model, location.href).href, { contextLength: 1024 });
    const first = async () => {
      for await (const piece of loaded.stream({ prompt: "the in a of", raw: true }, { maxTokens: 8, temperature: 0 })) return piece;
    };
    Object.assign(window, { ask: first });
  },
  "wllama: chat, cpu, 1 thread": async ({ model }) => {
    const { Wllama } = await import("/peers/browser/node_modules/@wllama/wllama/esm/index.min.js");
    const w = new Wllama({ default: "/peers/browser/node_modules/@wllama/wllama/esm/wasm/wllama.wasm" });
    await w.loadModelFromUrl(new URL(model, location.href).href, { n_ctx: 1024, n_threads: 1, n_gpu_layers: 0, useCache: true });
    Object.assign(window, { ask: () => w.createCompletion({ prompt: "the in a of", max_tokens: 1, temperature: 0 }) });
  },
  "trice: embed, webgpu": async () => {
    const { load } = await import("/site/web/engine.js");
    const names = ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "1_Pooling/config.json"];
    const files = await Promise.all(names.map(async (name) => ({ name, answer: await fetch(`/peers/minilm/${name}`) })));
    const blobs = files.filter(({ answer }) => answer.ok).map(async ({ name, answer }) => ({ name, blob: await answer.blob() }));
    const loaded = await load(await Promise.all(blobs));
    Object.assign(window, { ask: () => loaded.embed(["A cat sits on the mat."]) });
  },
  "transformers.js: embed, wasm, 1 thread": async () => {
    await /** @type {any} */ (window).transformers("wasm");
  },
  "transformers.js: embed, webgpu": async () => {
    await /** @type {any} */ (window).transformers("webgpu");
  },
};

/** transformers.js as its users call it, from this server's files. */
function transformers(/** @type {string} */ device) {
  return import("/peers/browser/node_modules/@huggingface/transformers/dist/transformers.web.min.js").then(async ({ env, pipeline }) => {
    Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, localModelPath: "/peers/onnx/" });
    env.backends.onnx.wasm.wasmPaths = "/peers/browser/node_modules/@huggingface/transformers/node_modules/onnxruntime-web/dist/";
    env.backends.onnx.wasm.numThreads = 1;
    const extract = await pipeline("feature-extraction", "minilm", { device, dtype: "fp32" });
    Object.assign(window, { ask: () => extract("A cat sits on the mat.", { pooling: "mean" }) });
  });
}

/** Peak of resident memory of the browser's renderers, in bytes. */
function rendererPeak() {
  const peaks = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map((pid) => {
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("--type=renderer")) return 0;
      return 1024 * Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0);
    } catch {
      return 0;
    }
  });
  return Math.max(0, ...peaks);
}

/** @param {number[]} values */
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** @param {import("playwright-core").BrowserContext} context @param {(where: any) => Promise<void>} load */
async function visit(context, load) {
  sent.clear();
  const page = await context.newPage();
  page.setDefaultTimeout(240_000);
  await page.goto(base);
  await page.evaluate(`window.transformers = ${transformers}`);
  const session = await context.newCDPSession(page);
  await session.send("Performance.enable");
  let heap = 0;
  const watch = setInterval(async () => {
    const { metrics } = await session.send("Performance.getMetrics").catch(() => ({ metrics: [] }));
    heap = Math.max(heap, metrics.find(({ name }) => name === "JSHeapUsedSize")?.value ?? 0);
  }, 20);
  const begin = performance.now();
  await page.evaluate(load, { model: `/peers/${model}` });
  const ready = performance.now();
  await page.evaluate(() => /** @type {any} */ (window).ask());
  const asked = performance.now();
  clearInterval(watch);
  const renderer = rendererPeak();
  await page.close();
  return { ready: (ready - begin) / 1000, first: (asked - ready) / 1000, heap, renderer };
}

/** @param {number} n */
const rounded = (n) => Number(n.toPrecision(3));

for (const [program, load] of Object.entries(PROGRAMS)) {
  // A profile on the disk, as a user has it: a private window keeps files in memory and reads them otherwise.
  const profile = mkdtempSync(join(tmpdir(), "trice-visits-"));
  const context = await openProfile(profile);
  try {
    await visit(context, load);
    const scripts = [...sent.keys()].filter((file) => /\.(m?js|wasm)$/.test(file));
    const warm = [];
    for (let round = 0; round < rounds; round++) warm.push(await visit(context, load));
    const of = (/** @type {"ready" | "first" | "heap" | "renderer"} */ key) => median(warm.map((one) => one[key]));
    console.log(JSON.stringify({
      program,
      bytes: scripts.reduce((sum, file) => sum + statSync(file).size, 0),
      gzip: scripts.reduce((sum, file) => sum + gzipSync(readFileSync(file), { level: 9 }).length, 0),
      ready_s: rounded(of("ready")),
      first_s: rounded(of("first")),
      js_heap_mb: rounded(of("heap") / 1e6),
      renderer_mb: rounded(of("renderer") / 1e6),
    }));
  } catch (error) {
    console.log(JSON.stringify({ program, error: String(/** @type {any} */ (error)?.message ?? error).slice(0, 300) }));
  }
  await context.close();
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
}
server.close();
