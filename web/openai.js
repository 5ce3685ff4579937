// OpenAI's chat completions over a model: request and answer shapes only.

import { EngineError } from "./connection.js";

/** @typedef {import("./engine.js").Model} Model */
/** @typedef {import("./engine.js").Generation} Generation */
/** @typedef {import("./engine.js").CompletionRequest} CompletionRequest */

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
      if (request.stream) return chunks(model, request, head);
      const generation = await model.generate({ messages: request.messages }, options(request));
      const message = { role: "assistant", content: generation.text };
      const choice = { index: 0, message, finish_reason: finishReason(generation) };
      return { ...head, object: "chat.completion", choices: [choice], usage: usage(generation) };
    },
  };
}

/** @param {Model} model @param {CompletionRequest} request @param {object} head */
async function* chunks(model, request, head) {
  /** @param {object} delta @param {string | null} reason */
  const chunk = (delta, reason) => {
    return { ...head, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: reason }] };
  };
  yield chunk({ role: "assistant", content: "" }, null);
  const pieces = model.chat(request.messages, options(request));
  try {
    let step = await pieces.next();
    for (; !step.done; step = await pieces.next()) yield chunk({ content: step.value }, null);
    if (step.value) yield { ...chunk({}, finishReason(step.value)), usage: usage(step.value) };
  } finally {
    await pieces.return(undefined);
  }
}

/** @param {CompletionRequest} request */
function options(request) {
  const { temperature, top_p: topP, stop, seed, overflow, signal } = request;
  const thinking = request.chat_template_kwargs?.enable_thinking;
  const maxTokens = request.max_completion_tokens ?? request.max_tokens;
  const schema = schemaOf(request.response_format);
  return { temperature, topP, stop, seed, overflow, signal, thinking, maxTokens, schema };
}

/** What the answer must fit; `name` and `strict` change nothing, since every answer is held to it. @param {CompletionRequest["response_format"]} format */
function schemaOf(format) {
  switch (format?.type) {
    case undefined:
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

/** @param {Generation} generation */
function finishReason(generation) {
  return generation.finish_reason === "length" ? "length" : "stop";
}

/** @param {Generation} generation */
function usage({ prompt_tokens, tokens }) {
  const [prompt, completion] = [prompt_tokens.length, tokens.length];
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
}
