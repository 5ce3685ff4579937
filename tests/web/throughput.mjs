// Vectors of real texts in a browser, by Trice and by transformers.js in turn on the same texts:
// `node throughput.mjs PEERS SHARED [many=64] [one=8] [rounds=3] [peers=wasm:fp32,wasm:q8,webgpu:fp32]`. PEERS is the folder that
// `cargo xtask bench --peers` sets up (target/peers), SHARED the folder of shared material. Prints a line of JSON per kind of texts,
// program and way: texts and tokens per second, medians of the rounds, and the least cosine to Trice's vectors.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, resolve } from "node:path";
import { loadFolder, newPage, openSite } from "./browser.mjs";

const [peersFolder, shared, ...rest] = process.argv.slice(2);
if (!peersFolder || !shared) {
  console.error("usage: node throughput.mjs PEERS SHARED [many=64] [one=8] [rounds=3] [peers=wasm:fp32,wasm:q8,webgpu:fp32]");
  process.exit(2);
}
const options = Object.fromEntries(rest.map((option) => option.split("=")));
const many = Number(options.many ?? 64);
const one = Number(options.one ?? 8);
const rounds = Number(options.rounds ?? 3);
const PEERS = (options.peers ?? "wasm:fp32,wasm:q8,webgpu:fp32").split(",");

/** Short sentences and short news, each from another. */
const TEXTS = {
  sst2: lines("sst2/stsa.binary.dev").map((line) => line.slice(2)),
  ag_news: lines("ag_news/test.csv").map((line) => line.slice(5, -1).replace('","', " ").replaceAll('""', '"')),
};

/** @param {string} path */
function lines(path) {
  return readFileSync(join(shared, "data", path), "utf8").split("\n").filter((line) => line !== "");
}

/** Evenly spread over the file. @param {string[]} texts */
function sample(texts) {
  const step = Math.floor(texts.length / many);
  return Array.from({ length: many }, (_, i) => texts[i * step]);
}

/** transformers.js names its parts as a bundler would find them. */
const RUNTIME = "/browser/node_modules/@huggingface/transformers/node_modules";
const imports = {
  "onnxruntime-common": `${RUNTIME}/onnxruntime-common/dist/esm/index.js`,
  "onnxruntime-web/webgpu": `${RUNTIME}/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs`,
};
const PAGE = `<!doctype html><title>peer</title><script type="importmap">${JSON.stringify({ imports })}</script>`;

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };

/** Serves `folder` so that WebAssembly may have threads. @param {string} folder @returns {Promise<string>} */
async function serveIsolated(folder) {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://x").pathname);
    response.setHeader("cross-origin-opener-policy", "same-origin");
    response.setHeader("cross-origin-embedder-policy", "require-corp");
    try {
      const body = path === "/" ? PAGE : readFileSync(join(folder, path));
      const type = TYPES[/** @type {keyof TYPES} */ (path === "/" ? ".html" : extname(path))] ?? "application/octet-stream";
      response.setHeader("content-type", type).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", () => done(undefined)));
  return `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (server.address()).port}/`;
}

const site = await openSite();

async function trice() {
  const { page } = await newPage(site);
  await page.goto(site.url);
  await loadFolder(page, join(resolve(shared), "models/all-MiniLM-L6-v2"));
  await page.evaluate(() => {
    const given = /** @type {any} */ (window);
    given.embed = (/** @type {string[]} */ texts) => given.model.embed(texts, { normalize: true });
  });
  return { name: "trice", page };
}

/** @param {string} place @param {string} device @param {string} dtype */
async function transformersJs(place, device, dtype) {
  const { page } = await newPage(site);
  await page.goto(place);
  await page.evaluate(
    async ([device, dtype]) => {
      const folder = "/browser/node_modules/@huggingface/transformers/";
      const { env, pipeline } = await import(`${folder}dist/transformers.web.min.js`);
      Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, useBrowserCache: false, localModelPath: "/onnx/" });
      env.backends.onnx.wasm.wasmPaths = `${folder}node_modules/onnxruntime-web/dist/`;
      env.backends.onnx.wasm.numThreads = navigator.hardwareConcurrency;
      const extract = await pipeline("feature-extraction", "minilm", { device, dtype });
      const run = async (/** @type {string[]} */ texts) => (await extract(texts, { pooling: "mean", normalize: true })).tolist();
      const given = /** @type {any} */ (window);
      // 32 at once, as its examples do: a padded batch of everything would be slower.
      given.embed = async (/** @type {string[]} */ texts) => {
        const vectors = [];
        for (let i = 0; i < texts.length; i += 32) vectors.push(...(await run(texts.slice(i, i + 32))));
        return vectors;
      };
      given.count = async (/** @type {string[]} */ texts) => {
        let n = 0;
        for (const text of texts) n += (await extract.tokenizer(text)).input_ids.dims[1];
        return n;
      };
    },
    [device, dtype],
  );
  return { name: `transformers.js ${device} ${dtype}`, page };
}

/**
 * Seconds for all texts at once or for each alone, and the vectors.
 * @param {import("playwright-core").Page} page @param {string[]} texts @param {boolean} isAtOnce
 */
function time(page, texts, isAtOnce) {
  return page.evaluate(
    async ({ texts, isAtOnce }) => {
      const embed = /** @type {any} */ (window).embed;
      const begin = performance.now();
      const vectors = [];
      for (const part of isAtOnce ? [texts] : texts.map((text) => [text])) vectors.push(...(await embed(part)));
      return { seconds: (performance.now() - begin) / 1000, vectors };
    },
    { texts, isAtOnce },
  );
}

/** @param {number[]} values */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/** @param {number[][]} ours @param {number[][]} theirs */
function leastCosine(ours, theirs) {
  return Math.min(...ours.map((vector, i) => vector.reduce((sum, x, j) => sum + x * theirs[i][j], 0)));
}

const place = await serveIsolated(resolve(peersFolder));
const entrants = [await trice()];
for (const peer of PEERS) entrants.push(await transformersJs(place, ...(/** @type {[string, string]} */ (peer.split(":")))));
for (const [kind, all] of Object.entries(TEXTS)) {
  const texts = sample(all);
  for (const isAtOnce of [true, false]) {
    const now = isAtOnce ? texts : texts.slice(0, one);
    const tokens = await entrants[1].page.evaluate((texts) => /** @type {any} */ (window).count(texts), now);
    const results = entrants.map(() => ({ seconds: /** @type {number[]} */ ([]), vectors: /** @type {number[][]} */ ([]) }));
    for (const { page } of entrants) await time(page, now.slice(0, 8), isAtOnce);
    for (let round = 0; round < rounds; round++) {
      for (const [i, { page }] of entrants.entries()) {
        const { seconds, vectors } = await time(page, now, isAtOnce);
        results[i].seconds.push(seconds);
        results[i].vectors = vectors;
      }
    }
    for (const [i, { name }] of entrants.entries()) {
      const seconds = median(results[i].seconds);
      const [texts_per_s, tokens_per_s, ratio] = [now.length, tokens, median(results[0].seconds)].map((n) => Number((n / seconds).toPrecision(3)));
      const cosine = Number(leastCosine(results[0].vectors, results[i].vectors).toFixed(4));
      const batch = isAtOnce ? now.length : 1;
      console.log(JSON.stringify({ kind, batch, program: name, texts: now.length, tokens, texts_per_s, tokens_per_s, speed_to_trice: ratio, cosine }));
    }
  }
}
await site.close();
process.exit(0);
