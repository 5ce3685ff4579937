// Trice in JavaScript: `load` a model, talk to it, classify with it. Everything runs in a worker of the model's own;
// leaving a `for await` loop over an answer cancels it.

import { Connection, EngineError } from "./connection.js";
import { fetchOver } from "./fetch.js";
import { defined, Home } from "./home.js";
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
  /** @type {Home} */
  #home;
  /** @type {api.Timings | null} */
  #timings = null;

  /** @param {Home} home */
  constructor(home) {
    this.#home = home;
    home.users.add(this);
    /** @type {api.Model["openai"]} */
    this.openai = { chat: { completions: chatCompletions(this) }, fetch: fetchOver(this) };
  }

  get device() {
    return this.#home.device;
  }

  get info() {
    return this.#home.info;
  }

  /** @type {api.Model["chat"]} */
  async *chat(messages, options = {}) {
    return yield* this.stream({ messages }, options);
  }

  /** @type {api.Model["stream"]} */
  async *stream(prompt, options = {}) {
    const pieces = this.pieces(prompt, options);
    try {
      let step = await pieces.next();
      for (; !step.done; step = await pieces.next()) if (step.value.text) yield step.value.text;
      return step.value;
    } finally {
      await pieces.return(undefined);
    }
  }

  /** @type {api.Model["pieces"]} */
  async *pieces(prompt, options = {}) {
    /** @type {api.Piece[]} */
    const waiting = [];
    let wake = () => {};
    const leave = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, leave.signal]) : leave.signal;
    /** @type {api.Generation | undefined} */
    let generation;
    /** @type {unknown} */
    let error;
    let settled = false;
    const finished = this.generate(prompt, { ...options, signal }, (piece) => {
      waiting.push(piece);
      wake();
    })
      .then((value) => (generation = value), (reason) => (error = reason))
      .finally(() => {
        settled = true;
        wake();
      });
    try {
      while (true) {
        yield* waiting.splice(0);
        if (settled) break;
        await new Promise((resolve) => {
          wake = () => resolve(undefined);
          if (waiting.length > 0 || settled) wake();
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
    /** @type {number[]} */
    const answered = [];
    let told = "";
    const onEvent = (/** @type {api.Piece} */ piece) => {
      answered.push(...piece.tokens);
      told += piece.text;
      onPiece?.(piece);
    };
    // After a lost device the answer goes on from its tokens.
    const generation = await this.#home.work("generate", () => ({ ...request, answered, told }), { signal, onEvent });
    this.#timings = generation.timings;
    return generation;
  }

  /** @type {api.Model["loadHead"]} */
  loadHead(file) {
    return this.#home.loadHead(transferable(file));
  }

  /** @type {api.Model["classify"]} */
  classify(texts, { signal, ...options } = {}) {
    return this.#home.work("classify", () => ({ texts, options: defined(options) }), { signal });
  }

  /** @type {api.Model["embed"]} */
  embed(texts, options = {}) {
    return this.#home.work("embed", () => ({ texts, options: defined(options) }));
  }

  /** @type {api.Model["tag"]} */
  tag(texts, options = {}) {
    return this.#home.work("tag", () => ({ texts, options: defined(options) }));
  }

  /** @type {api.Model["answer"]} */
  answer(question, context, options = {}) {
    return this.#home.work("answer", () => ({ question, context, options: defined(options) }));
  }

  /** @type {api.Model["rank"]} */
  rank(query, documents) {
    return this.#home.work("rank", () => ({ query, documents }));
  }

  /** @type {api.Model["fill"]} */
  fill(texts, options = {}) {
    return this.#home.work("fill", () => ({ texts, options: defined(options) }));
  }

  /** @type {api.Model["bench"]} */
  bench(options = {}, onRun) {
    return this.#home.call("bench", defined(options), onRun);
  }

  bandwidth() {
    return this.#home.call("bandwidth");
  }

  calls() {
    return this.#home.call("calls");
  }

  stats() {
    return { ...this.info, device: this.device.name, timings: this.#timings, idle_ms: this.#home.idleMs };
  }

  async fork() {
    await this.#home.call("fork");
    return new WorkerModel(this.#home);
  }

  async dispose() {
    this.#home.users.delete(this);
    if (this.#home.users.size === 0) this.#home.close();
  }
}

/** @type {typeof api.load} */
export async function load(source, { signal, ...options } = {}) {
  signal?.throwIfAborted();
  const home = new Home(transferable(source), options);
  await home.enter(signal);
  return new WorkerModel(home);
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
