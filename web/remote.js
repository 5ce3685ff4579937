// The program that serves this page as an engine: the calls of a model, answered over HTTP by `trice serve` on its own device.

import { EngineError } from "./connection.js";

/** @import { Classified, ClassifyOptions, GenerateOptions, Generation, Model, ModelInfo, Piece, Prompt, Timings } from "./engine.js" */

/**
 * @typedef {object} Served A model as GET /v1/models lists it.
 * @property {string} id
 * @property {string} task
 * @property {number} context_length
 * @property {boolean} has_template
 * @property {string[]} labels
 * @property {number} n_params
 * @property {number} weight_bytes
 * @property {string} architecture
 * @property {Model["device"]} device
 */

/** Relative to the page, wherever the program serves it. @param {string} path */
const address = (path) => new URL(path, document.baseURI).href;

/** The models of the program that serves this page; empty where no program does. @returns {Promise<Served[]>} */
export async function servedModels() {
  try {
    const answer = await fetch(address("v1/models"));
    const { data } = answer.ok ? await answer.json() : { data: [] };
    return data.filter((/** @type {any} */ model) => model.owned_by === "trice");
  } catch {
    return [];
  }
}

/** What a model must be made for to serve a tab, best first. @type {Record<"chat" | "classify", string[]>} */
const TASKS = { chat: ["text-generation"], classify: ["text-classification", "feature-extraction"] };

/** A model on the program's device. What the page asks of models, no more. */
export class RemoteModel {
  /** The program's model for a tab. @param {"chat" | "classify"} tab @returns {Promise<any>} */
  static async of(tab) {
    const models = await servedModels();
    const found = TASKS[tab].map((task) => models.find((model) => model.task === task)).find((model) => model);
    if (!found) throw new EngineError("Server", `it has no model for this (${TASKS[tab].join(", ")})`);
    return new RemoteModel(found);
  }

  /** @param {Served} served */
  constructor(served) {
    this.device = served.device;
    /** @type {ModelInfo} */
    this.info = {
      kind: served.task === "text-generation" ? "decoder" : "encoder",
      name: served.id,
      architecture: served.architecture,
      n_params: served.n_params,
      weight_bytes: served.weight_bytes,
      context_len: served.context_length,
      vocab_size: 0,
      load_ms: 0,
      has_template: served.has_template,
      labels: served.labels,
      heap_bytes: 0,
    };
  }

  /** @type {Model["generate"]} */
  async generate(prompt, { signal, ...options } = {}, onPiece) {
    const begin = performance.now();
    let first = begin;
    let text = "";
    /** @type {any} */
    let usage = {};
    /** @type {Generation["finish_reason"]} */
    let finish_reason = "stop";
    try {
      for await (const chunk of events(await post(...request(this.info.name, prompt, options), signal))) {
        if (chunk.error) throw errorOf(chunk.error, 500);
        usage = chunk.usage ?? usage;
        const [choice] = chunk.choices;
        const { reasoning_content: reasoning, content } = choice?.delta ?? { content: choice?.text };
        const piece = content || reasoning;
        if (piece && text === "") first = performance.now();
        text += piece ?? "";
        if (piece) onPiece?.({ text: piece, tokens: [], parts: [content ? { content } : { reasoning }] });
        finish_reason = choice?.finish_reason ?? finish_reason;
      }
    } catch (error) {
      if (!signal?.aborted) throw error;
      finish_reason = "cancelled";
    }
    const n = usage.completion_tokens ?? 0;
    const timings = /** @type {Timings} */ ({
      prefill_ms: first - begin,
      prefill_tokens: usage.prompt_tokens ?? 0,
      decode_tokens_per_s: (Math.max(n - 1, 0) / (performance.now() - first)) * 1000,
    });
    const ids = (/** @type {number} */ count) => Array(count).fill(0);
    return { model: this.info.name, prompt_tokens: ids(usage.prompt_tokens ?? 0), tokens: ids(n), text, finish_reason, dropped_tokens: usage.dropped_tokens ?? 0, timings };
  }

  /** @type {Model["classify"]} */
  async classify(texts, { signal, multiLabel, ...options } = {}) {
    const body = { model: this.info.name, input: texts, multi_label: multiLabel, ...options };
    const { data } = await (await post("v1/classify", body, signal)).json();
    return data.map((/** @type {Classified} */ found, /** @type {number} */ i) => inUnits(found, texts[i]));
  }

  /** Heads are files of the page, and the program has its own. @returns {Promise<void>} */
  async loadHead() {
    throw new EngineError("Unsupported", "a head by file runs in the browser: switch to it first");
  }

  async dispose() {}
}

/** Where a prompt goes, and how. @param {string} model @param {Prompt} prompt @param {GenerateOptions} options @returns {[string, object]} */
function request(model, prompt, options) {
  const { topP, topK, minP, repeatPenalty, maxTokens, thinking, temperature, seed, stop, overflow, schema } = options;
  const body = {
    model,
    temperature,
    top_p: topP,
    top_k: topK,
    min_p: minP,
    repeat_penalty: repeatPenalty,
    max_tokens: maxTokens,
    seed,
    stop,
    overflow,
    chat_template_kwargs: thinking === undefined ? undefined : { enable_thinking: thinking },
    response_format: schema === undefined ? undefined : { type: "json_schema", json_schema: { name: "answer", schema } },
    stream: true,
    stream_options: { include_usage: true },
  };
  if ("messages" in prompt) {
    return ["v1/chat/completions", { ...body, messages: prompt.messages, continue_final_message: prompt.goOn }];
  }
  if ("ids" in prompt) return ["v1/completions", { ...body, prompt: prompt.ids }];
  if (prompt.raw) return ["v1/completions", { ...body, prompt: prompt.prompt }];
  return ["v1/chat/completions", { ...body, messages: [{ role: "user", content: prompt.prompt }] }];
}

/** @param {string} path @param {object} body @param {AbortSignal} [signal] */
async function post(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch(address(path), { method: "POST", headers, body: JSON.stringify(body), signal });
  } catch (error) {
    throw signal?.aborted ? error : new EngineError("Server", String(/** @type {any} */ (error)?.message ?? error));
  }
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({ error: { message: `status ${answer.status}` } }));
  throw errorOf(error, answer.status);
}

/** A refusal of the program's, by who can act. @param {{message: string, code?: string}} error @param {number} status */
function errorOf({ message, code }, status) {
  const name = code === "context_length_exceeded" ? "Limit" : status < 500 ? "Invalid" : "Server";
  return new EngineError(name, message);
}

/** The objects of a stream of server-sent events. @param {Response} answer @returns {AsyncGenerator<any, void, void>} */
async function* events(answer) {
  if (!answer.body) return;
  let rest = "";
  for await (const text of /** @type {any} */ (answer.body.pipeThrough(new TextDecoderStream()))) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const data = line.startsWith("data: ") ? line.slice(6) : "";
      if (data !== "" && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

/** The program counts characters, JavaScript units of UTF-16. @param {Classified} found @param {string} text @returns {Classified} */
function inUnits(found, text) {
  if (!found.explanation) return found;
  const places = [0];
  for (const character of text) places.push(places[places.length - 1] + character.length);
  const words = found.explanation.words.map((word) => ({ ...word, start: places[word.start], end: places[word.end] }));
  return { ...found, explanation: { ...found.explanation, words } };
}
