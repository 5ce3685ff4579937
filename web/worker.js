// The worker that owns the wasm module and its GPU device. Messages in: {id, method, args}, or {cancel: id}.
// Messages out: {id, event}, {id, result}, {id, error}, or {fatal} when the module can run no more.

import "./shim.js";
import { callsSoFar, countCalls } from "./calls.js";
import { instantiateGrammars } from "./grammars.js";
import { loadKept } from "./keeping.js";
import { isRemote } from "./store.js";
import { readTunings, writeTunings } from "./tunings.js";

const scope = /** @type {any} */ (globalThis);

/** The wasm `Engine`, once opened. @type {any} */
let engine = null;
/** The wasm `Table`, once opened. @type {any} */
let table = null;
/** Requests run one after another; this is the end of the line. @type {Promise<void>} */
let tail = Promise.resolve();
/** The request being worked on. @type {number | null} */
let running = null;
/** Whether tuning was begun. */
let isTuning = false;
/** Requests cancelled before they began. @type {Set<number>} */
const cancelled = new Set();

/** The wasm module; it becomes ready once. */
async function loadModule() {
  const module = await import(new URL("../pkg/trice.js", import.meta.url).href);
  await module.default({ module_or_path: new URL("../pkg/trice_bg.wasm", import.meta.url) });
  return module;
}

/** @type {Record<string, (args: any, emit: (event: any) => void) => any>} */
const methods = {
  async adapters() {
    return (await loadModule()).Engine.adapters();
  },
  async open({ device, counts }) {
    if (counts) countCalls();
    const { Engine } = await loadModule();
    engine = await Engine.create({ device, tunings: await readTunings() }, instantiateGrammars);
    return engine.deviceInfo();
  },
  calls: () => callsSoFar(),
  async tune() {
    if (!engine.isTuned) await writeTunings(await engine.tune());
  },
  async load({ source, options: { keep = true, builtinBase, ...rest } }, emit) {
    const options = { ...rest, builtinUrls: builtinUrls(builtinBase) };
    if (!isRemote(source) || !keep) return engine.load(source, options, emit);
    return loadKept(await loadModule(), engine, source, options, keep === true ? {} : keep, emit);
  },
  repoChoices: async ({ name, options }) => (await loadModule()).repoChoices(name, options),
  bandwidth: () => engine.bandwidth(),
  generate: (request, emit) => engine.generate(request, emit),
  fork: () => engine.fork(),
  loadHead: ({ source }) => engine.loadHead(source),
  classify: ({ texts, options }) => engine.classify(texts, options),
  embed: ({ texts, options }) => engine.embed(texts, options),
  tag: ({ texts, options }) => engine.tag(texts, options),
  answer: ({ question, context, options }) => engine.answer(question, context, options),
  rank: ({ query, documents }) => engine.rank(query, documents),
  fill: ({ texts, options }) => engine.fill(texts, options),
  bench: (options, emit) => engine.bench(options, emit),
  selfTest: (_, emit) => engine.selfTest(emit),
  async openTable({ name, blob, options }) {
    const { Table } = await loadModule();
    Table.checkSize(name, blob.size);
    table = Table.open(name, new Uint8Array(await blob.arrayBuffer()), options);
    return table.describe();
  },
  tableRows: ({ start, end }) => table.rows(start, end),
  saveTable: ({ results }) => table.save(results),
};

/** Where the built-in models lie. Each is written out here, since bundlers see and keep only what is. */
const BUILTIN = {
  stories: new URL("../models/stories.gguf", import.meta.url).href,
  sentiment: new URL("../models/sentiment.gguf", import.meta.url).href,
  intent: new URL("../models/intent.gguf", import.meta.url).href,
  embed: new URL("../models/embed.gguf", import.meta.url).href,
};

/** The same in another folder, where one is named. @param {string} [folder] */
function builtinUrls(folder) {
  if (folder === undefined) return BUILTIN;
  return Object.fromEntries(Object.keys(BUILTIN).map((name) => [name, `${folder.replace(/\/$/, "")}/${name}.gguf`]));
}

/** What a person waits for. Shaders are tuned after the first of these, never before: the first answer comes soonest. */
const WORK = new Set(["generate", "classify", "embed", "tag", "answer", "rank", "fill"]);

/** Queues the tuning behind what has been asked already; it serves the models loaded next. */
function tuneWhenIdle() {
  if (engine.isTuned || isTuning) return;
  isTuning = true;
  // A device that cannot be measured keeps its defaults.
  tail = tail.then(() => methods.tune({}, () => {})).catch((error) => void dieOfTrap(error));
}

/** @param {{id: number, method: string, args: any}} request */
async function answer({ id, method, args }) {
  if (cancelled.delete(id)) {
    scope.postMessage({ id, error: { name: "Cancelled", message: "cancelled" } });
    return;
  }
  running = id;
  try {
    const result = await methods[method](args, (event) => scope.postMessage({ id, event }));
    scope.postMessage({ id, result });
    if (WORK.has(method)) tuneWhenIdle();
  } catch (error) {
    if (!dieOfTrap(error)) scope.postMessage({ id, error: await describe(error) });
  } finally {
    running = null;
  }
}

/** A device that is gone may say so a moment after what failed by that. */
const LOSS_MS = 100;

/** @param {any} error */
async function describe(error) {
  let { name = "Error" } = error ?? {};
  if (name === "Gpu") {
    await new Promise((resolve) => setTimeout(resolve, LOSS_MS));
    if (engine?.isLost) name = "Lost";
  }
  return { name, message: error?.message ?? String(error) };
}

/** A trap leaves the module in an unknown state, and the promise it happened in never settles: tell all requests. @param {any} error */
function dieOfTrap(error) {
  const isTrap = error instanceof WebAssembly.RuntimeError;
  if (isTrap) scope.postMessage({ fatal: `the engine stopped unexpectedly: ${error.message}` });
  return isTrap;
}

scope.addEventListener("message", (/** @type {MessageEvent} */ { data }) => {
  if (data.cancel === undefined) {
    tail = tail.then(() => answer(data));
  } else if (data.cancel === running) {
    engine?.cancel();
  } else {
    cancelled.add(data.cancel);
  }
});
scope.addEventListener("error", (/** @type {ErrorEvent} */ event) => dieOfTrap(event.error));
scope.addEventListener("unhandledrejection", (/** @type {PromiseRejectionEvent} */ event) => dieOfTrap(event.reason));
