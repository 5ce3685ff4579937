// Trice in JavaScript: `load` a model, talk to it, classify with it. Everything runs in a worker of the model's own;
// leaving a `for await` loop over an answer cancels it.

import { Connection, EngineError } from "./connection.js";
import { chatCompletions } from "./openai.js";
import { pipelineOver } from "./pipelines.js";

export { EngineError };

/** @typedef {{role: "system" | "user" | "assistant", content: string}} Message */
/** @typedef {{name: string, blob: Blob}} ModelFile A file of a model; `name` is its path inside the model's folder. */
/** @typedef {string | File | File[] | FileList | ModelFile[]} ModelSource A name, an address, or files. */
/** @typedef {{stage: "reading" | "compiling", done: number, total: number}} Progress Bytes read, shaders compiled. */
/** @typedef {{label: string, score: number}} LabelScore */

/**
 * @typedef {object} LoadOptions
 * @property {(progress: Progress) => void} [onProgress]
 * @property {AbortSignal} [signal] Aborting stops the load and frees what it had.
 * @property {number} [contextLength] Tokens of context to reserve; by default min(the model's, 4096).
 * @property {"f16" | "f32"} [kvType] Element type of the KV cache.
 * @property {string} [device] A part of an adapter's name.
 * @property {string} [endpoint] A hub mirror's address.
 * @property {string} [token] The hub's access token.
 * @property {string} [builtinBase] Where the built-in models lie; by default `models/` beside this folder.
 */

/**
 * @typedef {object} GenerateOptions
 * @property {number} [temperature] 0 is greedy.
 * @property {number} [topK] Keep the k most probable tokens; 0 keeps all.
 * @property {number} [topP] Keep the fewest tokens whose probabilities reach this sum.
 * @property {number} [minP] Keep tokens at least this fraction as probable as the best.
 * @property {number} [repeatPenalty] 1 is off.
 * @property {number} [seed] By default a random one.
 * @property {number} [maxTokens]
 * @property {string | string[]} [stop] Texts that end the answer.
 * @property {number} [logprobs] Also report this many most probable tokens per step.
 * @property {AbortSignal} [signal]
 */

/** @typedef {{messages: Message[]} | {prompt: string, raw?: boolean} | {ids: number[]}} Prompt */
/** @typedef {{text: string, tokens: number[], logprobs?: object[]}} Piece */

/**
 * @typedef {object} Timings
 * @property {number} load_ms
 * @property {number} first_token_ms
 * @property {number} prefill_tokens_per_s
 * @property {number} decode_tokens_per_s
 * @property {number} dispatches_per_token
 */

/**
 * @typedef {object} Generation What `trice chat --json` prints.
 * @property {string} model
 * @property {number[]} prompt_tokens
 * @property {number[]} tokens
 * @property {string} text
 * @property {"stop" | "length" | "cancelled"} finish_reason
 * @property {Timings} timings
 * @property {{id: number, logprob: number, top: {id: number, logprob: number}[]}[]} [logprobs]
 */

/**
 * @typedef {object} ModelInfo
 * @property {"decoder" | "encoder"} kind
 * @property {string} name
 * @property {string} architecture
 * @property {number} n_params
 * @property {number} weight_bytes
 * @property {number} context_len
 * @property {number} vocab_size
 * @property {number} load_ms
 * @property {boolean} has_template Without a chat template a decoder can only continue text.
 * @property {string[]} labels Of an encoder's head; empty without a head.
 */

/**
 * @typedef {object} DeviceInfo
 * @property {string} name
 * @property {string} backend
 * @property {string} driver
 * @property {string} kind
 * @property {boolean} f16
 * @property {boolean} subgroups
 * @property {[number, number]} subgroup_size
 * @property {number} max_binding_bytes
 * @property {number} max_buffer_bytes
 * @property {number} max_workgroup_bytes
 * @property {number} max_storage_buffers
 */

/** How answers are sampled where nothing is said; the same as the command line's. */
export const SAMPLING = Object.freeze({ temperature: 0.7, topK: 40, topP: 0.95, minP: 0.05, repeatPenalty: 1 });

/** A loaded model in its worker. Made by `load`. */
export class Model {
  /** @type {Connection} */
  #connection;
  /** @type {Timings | null} */
  #timings = null;

  /** @param {Connection} connection @param {DeviceInfo} device @param {ModelInfo} info */
  constructor(connection, device, info) {
    this.#connection = connection;
    /** @type {DeviceInfo} */
    this.device = device;
    /** @type {ModelInfo} */
    this.info = info;
    /** The shapes of OpenAI's client. */
    this.openai = { chat: { completions: chatCompletions(this) } };
  }

  /**
   * Answers a conversation, piece by piece. Leaving the loop cancels; an aborted `signal` throws its reason.
   * @param {Message[]} messages
   * @param {GenerateOptions} [options]
   * @returns {AsyncGenerator<string, Generation | undefined, void>}
   */
  async *chat(messages, options = {}) {
    return yield* this.stream({ messages }, options);
  }

  /**
   * As `chat`, for any kind of prompt.
   * @param {Prompt} prompt
   * @param {GenerateOptions} [options]
   * @returns {AsyncGenerator<string, Generation | undefined, void>}
   */
  async *stream(prompt, options = {}) {
    /** @type {string[]} */
    const texts = [];
    let wake = () => {};
    const leave = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, leave.signal]) : leave.signal;
    /** @type {Generation | undefined} */
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

  /**
   * Generates to the end, telling `onPiece` of every piece. An aborted `signal` resolves to what there is, with
   * `finish_reason` "cancelled".
   * @param {Prompt} prompt
   * @param {GenerateOptions} [options]
   * @param {(piece: Piece) => void} [onPiece]
   * @returns {Promise<Generation>}
   */
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

  /**
   * Labels with scores, best first, one list per text.
   * @param {string[]} texts
   * @param {{labels?: string[], template?: string, multiLabel?: boolean}} [options] Own labels are compared by embedding.
   * @returns {Promise<LabelScore[][]>}
   */
  classify(texts, options = {}) {
    return this.#connection.call("classify", { texts, options: defined(options) }).result;
  }

  /**
   * One vector per text.
   * @param {string[]} texts
   * @param {{pooling?: "mean" | "cls" | "last", normalize?: boolean}} [options]
   * @returns {Promise<number[][]>}
   */
  embed(texts, options = {}) {
    return this.#connection.call("embed", { texts, options: defined(options) }).result;
  }

  /**
   * Measures speed; resolves to what `trice bench --json` prints.
   * @param {{prompt?: number, generate?: number, batch?: number, repetitions?: number}} [options]
   * @returns {Promise<object>}
   */
  bench(options = {}) {
    return this.#connection.call("bench", defined(options)).result;
  }

  /** What is loaded, where, and how long the last answer took. */
  stats() {
    return { ...this.info, device: this.device.name, timings: this.#timings };
  }

  /** Ends the worker and frees its memory and the GPU's. */
  async dispose() {
    this.#connection.close();
  }
}

/**
 * Loads a model: `builtin:stories`, `hf:owner/repo:Q4_K_M`, an address, `random:15m`, a File, or a folder's files.
 * @param {ModelSource} source
 * @param {LoadOptions} [options]
 * @returns {Promise<Model>}
 */
export async function load(source, options = {}) {
  const { onProgress, signal, device, ...rest } = options;
  signal?.throwIfAborted();
  const connection = new Connection();
  const abort = () => connection.close(signal?.reason);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    const found = await connection.call("open", { device }).result;
    const args = { source: transferable(source), options: defined(rest) };
    const info = await connection.call("load", args, onProgress).result;
    return new Model(connection, found, info);
  } catch (error) {
    connection.close();
    throw error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/**
 * A function over a model, in the shapes that users of transformers.js know.
 * @param {import("./pipelines.js").Task} task
 * @param {Model | ModelSource} [model] By default the built-in model of the task.
 * @param {LoadOptions} [options]
 */
export async function pipeline(task, model, options = {}) {
  return pipelineOver(task, (name) => (model instanceof Model ? Promise.resolve(model) : load(model ?? name, options)));
}

/**
 * The adapters the browser offers; empty where there is none.
 * @returns {Promise<DeviceInfo[]>}
 */
export async function devices() {
  const connection = new Connection();
  try {
    return await connection.call("adapters").result;
  } finally {
    connection.close();
  }
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

/** A name as it is; files as `{name, blob}` with paths inside their folder. @param {ModelSource} source */
function transferable(source) {
  if (typeof source === "string") return source;
  /** @type {(File | ModelFile)[]} */
  const files = source instanceof Blob ? [source] : [...source];
  return files.map((file) => (file instanceof Blob ? { name: innerPath(file), blob: file } : file));
}

/** `all-MiniLM-L6-v2/1_Pooling/config.json` is `1_Pooling/config.json` of its model. @param {Blob} file */
function innerPath(file) {
  const { webkitRelativePath: path, name } = /** @type {File} */ (file);
  return path ? path.slice(path.indexOf("/") + 1) : (name ?? "model");
}
