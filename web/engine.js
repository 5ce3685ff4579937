// Trice in JavaScript: `load` a model, talk to it, classify with it. Everything runs in a worker of the model's own;
// leaving a `for await` loop over an answer cancels it.

import { Connection, EngineError } from "./connection.js";
import { chatCompletions } from "./openai.js";
import { pipelineOver } from "./pipelines.js";

export { EngineError };
export { forgetModel, keptModels } from "./store.js";
export { openTable } from "./tables.js";

/** @import * as api from "./engine.js" */

/** How answers are sampled where nothing is said; the same as the command line's. */
export const SAMPLING = Object.freeze({ temperature: 0.7, topK: 40, topP: 0.95, minP: 0.05, repeatPenalty: 1 });

/** @implements {api.Model} */
class WorkerModel {
  /** @type {Connection} */
  #connection;
  /** Those that use the connection: a model and its forks. @type {Set<WorkerModel>} */
  #users;
  /** @type {api.Timings | null} */
  #timings = null;

  /**
   * @param {Connection} connection
   * @param {api.DeviceInfo} device
   * @param {api.ModelInfo} info
   * @param {Set<WorkerModel>} [users]
   */
  constructor(connection, device, info, users = new Set()) {
    this.#connection = connection;
    this.#users = users.add(this);
    this.device = device;
    this.info = info;
    /** @type {api.Model["openai"]} */
    this.openai = { chat: { completions: chatCompletions(this) } };
  }

  /** @type {api.Model["chat"]} */
  async *chat(messages, options = {}) {
    return yield* this.stream({ messages }, options);
  }

  /** @type {api.Model["stream"]} */
  async *stream(prompt, options = {}) {
    /** @type {string[]} */
    const texts = [];
    let wake = () => {};
    const leave = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, leave.signal]) : leave.signal;
    /** @type {api.Generation | undefined} */
    let generation;
    /** @type {unknown} */
    let error;
    let settled = false;
    const finished = this.generate(prompt, { ...options, signal }, (piece) => {
      texts.push(piece.text);
      wake();
    })
      .then((value) => (generation = value), (reason) => (error = reason))
      .finally(() => {
        settled = true;
        wake();
      });
    try {
      while (true) {
        for (const text of texts.splice(0)) if (text) yield text;
        if (settled) break;
        await new Promise((resolve) => {
          wake = () => resolve(undefined);
          if (texts.length > 0 || settled) wake();
        });
      }
      options.signal?.throwIfAborted();
      if (error) throw error;
      return generation;
    } finally {
      leave.abort();
      await finished;
    }
  }

  /** @type {api.Model["generate"]} */
  async generate(prompt, options = {}, onPiece) {
    const { signal, stop, seed, ...rest } = options;
    const request = {
      ...SAMPLING,
      ...defined(rest),
      ...prompt,
      seed: seed ?? crypto.getRandomValues(new Uint32Array(1))[0],
      stop: stop === undefined ? [] : [stop].flat(),
    };
    const call = this.#connection.call("generate", request, onPiece);
    const generation = await cancellable(call, signal);
    this.#timings = generation.timings;
    return generation;
  }

  /** @type {api.Model["loadHead"]} */
  async loadHead(file) {
    this.info = await this.#connection.call("loadHead", { source: transferable(file) }).result;
  }

  /** @type {api.Model["classify"]} */
  classify(texts, { signal, ...options } = {}) {
    return cancellable(this.#connection.call("classify", { texts, options: defined(options) }), signal);
  }

  /** @type {api.Model["embed"]} */
  embed(texts, options = {}) {
    return this.#connection.call("embed", { texts, options: defined(options) }).result;
  }

  /** @type {api.Model["tag"]} */
  tag(texts, options = {}) {
    return this.#connection.call("tag", { texts, options: defined(options) }).result;
  }

  /** @type {api.Model["answer"]} */
  answer(question, context, options = {}) {
    return this.#connection.call("answer", { question, context, options: defined(options) }).result;
  }

  /** @type {api.Model["rank"]} */
  rank(query, documents) {
    return this.#connection.call("rank", { query, documents }).result;
  }

  /** @type {api.Model["fill"]} */
  fill(texts, options = {}) {
    return this.#connection.call("fill", { texts, options: defined(options) }).result;
  }

  /** @type {api.Model["bench"]} */
  bench(options = {}, onRun) {
    return this.#connection.call("bench", defined(options), onRun).result;
  }

  calls() {
    return this.#connection.call("calls").result;
  }

  stats() {
    return { ...this.info, device: this.device.name, timings: this.#timings };
  }

  async fork() {
    await this.#connection.call("fork").result;
    return new WorkerModel(this.#connection, this.device, this.info, this.#users);
  }

  async dispose() {
    this.#users.delete(this);
    if (this.#users.size === 0) this.#connection.close();
  }
}

/** @type {typeof api.load} */
export async function load(source, options = {}) {
  const { onProgress, signal, device, tune, counts, ...rest } = options;
  signal?.throwIfAborted();
  const connection = new Connection();
  const abort = () => connection.close(signal?.reason);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    const found = await connection.call("open", { device, counts }).result;
    if (tune) await connection.call("tune").result;
    const args = { source: transferable(source), options: defined(rest) };
    const info = await connection.call("load", args, onProgress).result;
    return new WorkerModel(connection, found, info);
  } catch (error) {
    connection.close();
    throw error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** @type {typeof api.pipeline} */
export async function pipeline(task, model, options = {}) {
  return pipelineOver(task, async (name) => {
    if (isModel(model)) return model;
    const source = model ?? name;
    if (source === null) throw new TypeError(`${task} has no built-in model: name one`);
    return load(source, options);
  });
}

/** @type {typeof api.devices} */
export function devices() {
  return briefly((connection) => connection.call("adapters").result);
}

/** @type {typeof api.repoChoices} */
export function repoChoices(name, options = {}) {
  return briefly((connection) => connection.call("repoChoices", { name, options: defined(options) }).result);
}

/** @type {typeof api.probe} */
export function probe({ device } = {}) {
  return briefly(async (connection) => {
    const found = await connection.call("open", { device }).result;
    return { device: found, bytesPerSecond: await connection.call("bandwidth").result };
  });
}

/** @type {typeof api.selfTest} */
export function selfTest({ device, onProgress } = {}) {
  return briefly(async (connection) => {
    await connection.call("open", { device }).result;
    return connection.call("selfTest", {}, onProgress).result;
  });
}

/** Runs `work` in a worker of its own. @template T @param {(connection: Connection) => Promise<T>} work */
async function briefly(work) {
  const connection = new Connection();
  try {
    return await work(connection);
  } finally {
    connection.close();
  }
}

/** @param {api.Model | api.ModelSource | undefined} model @returns {model is api.Model} */
function isModel(model) {
  return model instanceof WorkerModel;
}

/** Awaits a call and cancels it when the signal aborts. @param {import("./connection.js").Call} call @param {AbortSignal} [signal] */
async function cancellable(call, signal) {
  if (signal?.aborted) call.cancel();
  signal?.addEventListener("abort", call.cancel, { once: true });
  try {
    return await call.result;
  } finally {
    signal?.removeEventListener("abort", call.cancel);
  }
}

/** Without the fields that are undefined: the engine refuses what it does not know. @param {object} options */
function defined(options) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** A name as it is; files as `{name, blob}` with paths inside their folder. @param {api.ModelSource} source */
function transferable(source) {
  if (typeof source === "string") return source;
  /** @type {(File | api.ModelFile)[]} */
  const files = source instanceof Blob ? [source] : [...source];
  return files.map((file) => (file instanceof Blob ? { name: innerPath(file), blob: file } : file));
}

/** `all-MiniLM-L6-v2/1_Pooling/config.json` is `1_Pooling/config.json` of its model. @param {Blob} file */
function innerPath(file) {
  const { webkitRelativePath: path, name } = /** @type {File} */ (file);
  return path ? path.slice(path.indexOf("/") + 1) : (name ?? "model");
}
