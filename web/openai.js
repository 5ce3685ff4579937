// OpenAI's chat completions over a model: request and answer shapes only.

import { EngineError } from "./connection.js";

/** @import { CompletionRequest, Generation, Model, Piece, ReplyPart, StepLogprobs } from "./engine.js" */

/** Characters of a call's name for itself, as Mistral's templates want it. */
const ID_CHARS = 9;

/** What a piece adds to a choice. @typedef {{delta: any, logprobs: {content: object[]} | null}} Addition */

/** @param {Model} model */
export function chatCompletions(model) {
  return {
    /**
     * Answers a conversation: one completion, or with `stream` an async iterable of chunks.
     * @param {CompletionRequest} request
     * @returns {Promise<any>}
     */
    async create(request) {
      const head = { id: `chatcmpl-${crypto.randomUUID()}`, created: Math.floor(Date.now() / 1000), model: model.info.name };
      const additions = answer(model, request);
      return request.stream ? chunks(head, additions) : whole(head, additions);
    },
  };
}

/** @param {object} head @param {AsyncGenerator<Addition, object, void>} additions */
async function* chunks(head, additions) {
  /** @param {object} choice @param {object} [rest] */
  const chunk = (choice, rest) => {
    const choices = [{ index: 0, delta: {}, logprobs: null, finish_reason: null, ...choice }];
    return { ...head, object: "chat.completion.chunk", choices, ...rest };
  };
  try {
    // What is refused fails before anything is told.
    let step = await additions.next();
    yield chunk({ delta: { role: "assistant", content: "" } });
    for (; !step.done; step = await additions.next()) yield chunk(step.value);
    const { usage, ...end } = /** @type {any} */ (step.value);
    yield chunk(end, { usage });
  } finally {
    await additions.return({});
  }
}

/** @param {object} head @param {AsyncGenerator<Addition, object, void>} additions */
async function whole(head, additions) {
  /** @type {any} */
  const message = { role: "assistant", content: "" };
  const steps = [];
  let next = await additions.next();
  for (; !next.done; next = await additions.next()) {
    const { delta, logprobs } = next.value;
    steps.push(...(logprobs?.content ?? []));
    for (const name of ["content", "reasoning_content"]) if (delta[name]) message[name] = (message[name] ?? "") + delta[name];
    for (const { index, ...call } of delta.tool_calls ?? []) (message.tool_calls ??= [])[index] = call;
  }
  // Who calls and says nothing has no content.
  if (message.tool_calls && message.content === "") message.content = null;
  const { usage, ...end } = /** @type {any} */ (next.value);
  const choice = { index: 0, message, logprobs: steps.length > 0 ? { content: steps } : null, ...end };
  return { ...head, object: "chat.completion", choices: [choice], usage };
}

/** What is added to the answer, and in the end why it ended and what it took. @param {Model} model @param {CompletionRequest} request */
async function* answer(model, request) {
  const prompt = { messages: request.messages, goOn: request.continue_final_message ?? false };
  const pieces = model.pieces(prompt, options(request));
  let nCalls = 0;
  try {
    let step = await pieces.next();
    for (; !step.done; step = await pieces.next()) {
      const { parts = [], logprobs: steps = [] } = step.value;
      /** @type {any[]} */
      const deltas = parts.map((part) => deltaOf(part, () => nCalls++));
      if (deltas.length === 0 && steps.length > 0) deltas.push({});
      // Log-probabilities come once, with whatever the tokens gave.
      for (const [i, delta] of deltas.entries()) yield { delta, logprobs: i === 0 && steps.length > 0 ? { content: steps.map(stepOf) } : null };
    }
    const generation = /** @type {Generation} */ (step.value);
    return { finish_reason: finishReason(generation, nCalls > 0), usage: usage(generation) };
  } finally {
    await pieces.return(undefined);
  }
}

/** @param {ReplyPart} part @param {() => number} nextIndex */
function deltaOf(part, nextIndex) {
  if ("reasoning" in part) return { reasoning_content: part.reasoning };
  if ("content" in part) return { content: part.content };
  const id = crypto.randomUUID().replaceAll("-", "").slice(0, ID_CHARS);
  return { tool_calls: [{ index: nextIndex(), id, type: "function", function: part.call }] };
}

/** @param {StepLogprobs} step */
function stepOf(step) {
  return { ...tokenOf(step), top_logprobs: step.top.map(tokenOf) };
}

/** Half a character shows as U+FFFD; `bytes` has the truth. @param {{bytes?: number[], logprob: number}} token */
function tokenOf({ bytes = [], logprob }) {
  return { token: new TextDecoder().decode(new Uint8Array(bytes)), logprob, bytes };
}

/** @param {CompletionRequest} request @returns {import("./engine.js").GenerateOptions} */
function options(request) {
  const asked = {
    temperature: request.temperature,
    topP: request.top_p,
    topK: request.top_k,
    minP: request.min_p,
    repeatPenalty: request.repeat_penalty,
    stop: request.stop,
    seed: seedOf(request.seed),
    overflow: request.overflow,
    signal: request.signal,
    tools: request.tools,
    toolChoice: request.tool_choice,
    parallelToolCalls: request.parallel_tool_calls,
    thinking: request.chat_template_kwargs?.enable_thinking,
    maxTokens: request.max_completion_tokens ?? request.max_tokens,
    schema: schemaOf(request.response_format),
    logprobs: request.logprobs ? (request.top_logprobs ?? 0) : undefined,
    parts: true,
  };
  // What is null was not asked for, as OpenAI's clients mean it.
  return Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== null));
}

/** The sampler's seed has 32 bits: both halves of the client's count. @param {number | null} [seed] */
function seedOf(seed) {
  if (typeof seed !== "number" || !Number.isInteger(seed)) return seed ?? undefined;
  const bits = BigInt.asUintN(64, BigInt(seed));
  return Number(BigInt.asUintN(32, bits ^ (bits >> 32n)));
}

/** What the answer must fit; `name` and `strict` change nothing, since every answer is held to it. @param {CompletionRequest["response_format"]} format */
function schemaOf(format) {
  if (!format) return undefined;
  switch (format.type) {
    case "text":
      return undefined;
    case "json_object":
      return { type: "object" };
    case "json_schema":
      if (isObject(format.json_schema?.schema)) return format.json_schema.schema;
      throw new EngineError("Invalid", "response_format.json_schema.schema must be an object");
    default:
      throw new EngineError("Invalid", "response_format.type must be text, json_object or json_schema");
  }
}

/** @param {unknown} value */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param {Generation} generation @param {boolean} hasCalls */
function finishReason({ finish_reason }, hasCalls) {
  if (finish_reason !== "stop") return "length";
  return hasCalls ? "tool_calls" : "stop";
}

/** @param {Generation} generation */
function usage({ prompt_tokens, tokens, timings }) {
  const [prompt, completion] = [prompt_tokens.length, tokens.length];
  const prompt_tokens_details = { cached_tokens: timings.cached_tokens };
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion, prompt_tokens_details };
}
