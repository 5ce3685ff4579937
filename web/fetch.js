// OpenAI's HTTP over a model, without a server: what its clients take for `fetch`.

/** @import { CompletionRequest, Model } from "./engine.js" */

/** Fields that would change the answer and are not acted on: saying so beats ignoring them. */
const UNKNOWN = ["functions", "logit_bias", "presence_penalty", "frequency_penalty", "dimensions"];

/** @param {Model} model @returns {Model["openai"]["fetch"]} */
export function fetchOver(model) {
  return async (input, init) => {
    const request = new Request(input, init);
    const path = new URL(request.url).pathname;
    const [, serve] = (request.method === "POST" && SERVED.find(([end]) => path.endsWith(end))) || [];
    if (!serve) return refuse(404, { name: "not_found", message: `there is no ${request.method} ${path} here` });
    try {
      return await serve(model, await bodyOf(request), request.signal);
    } catch (error) {
      request.signal.throwIfAborted();
      return refuse(statusOf(error), error);
    }
  };
}

/** What is answered, by how its path ends. @type {[string, (model: Model, body: any, signal: AbortSignal) => Promise<Response>][]} */
const SERVED = [["/chat/completions", complete], ["/embeddings", embed]];

/** @param {Request} request */
async function bodyOf(request) {
  const body = await request.json();
  const unknown = UNKNOWN.find((name) => body[name]) ?? (body.n > 1 ? "n" : undefined);
  if (unknown) throw Object.assign(new Error(`${unknown} is not supported here`), { name: "Unsupported" });
  if (body.messages === undefined && body.input === undefined) throw Object.assign(new Error("messages must be a list of messages"), { name: "Invalid" });
  return body;
}

/** @param {Model} model @param {CompletionRequest} body @param {AbortSignal} signal */
async function complete(model, body, signal) {
  const leave = new AbortController();
  const completion = await model.openai.chat.completions.create({ ...body, signal: AbortSignal.any([signal, leave.signal]) });
  if (!body.stream) return answer(completion);
  const first = await completion.next();
  return new Response(events(first, completion, body, { signal, leave }), { headers: { "Content-Type": "text/event-stream" } });
}

/** @param {Model} model @param {{input: string | string[], encoding_format?: "float" | "base64"}} body */
async function embed(model, { input, encoding_format: format }) {
  // OpenAI's vectors have length 1.
  const vectors = await model.embed([input].flat(), { normalize: true });
  const data = vectors.map((vector, index) => ({ object: "embedding", index, embedding: format === "base64" ? base64(vector) : vector }));
  return answer({ object: "list", data, model: model.info.name });
}

/** The bytes of 32-bit floats, as OpenAI's own clients ask for them. @param {number[]} vector */
function base64(vector) {
  return btoa(Array.from(new Uint8Array(new Float32Array(vector).buffer), (byte) => String.fromCharCode(byte)).join(""));
}

/** @param {any} body @param {number} [status] */
function answer(body, status = 200) {
  return new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });
}

/** @param {number} status @param {any} error */
function refuse(status, error) {
  return answer({ error: errorOf(error) }, status);
}

/** @param {any} error */
function errorOf(error) {
  const { name, message } = error;
  const type = statusOf(error) < 500 ? "invalid_request_error" : "server_error";
  return { message, type, param: null, code: name === "Limit" ? "context_length_exceeded" : name };
}

/** Who can mend it: the one who asks, or nobody here. @param {any} error */
function statusOf({ name }) {
  return ["Invalid", "Limit", "Unsupported", "Format", "SyntaxError", "not_found"].includes(name) ? 400 : 500;
}

/**
 * Server-sent events, one a chunk.
 * @param {IteratorResult<any, void>} first
 * @param {AsyncGenerator<any, void, void>} chunks The others.
 * @param {CompletionRequest} request
 * @param {{signal: AbortSignal, leave: AbortController}} ends Who asked may abort it, and who stops reading stops the answer.
 */
function events(first, chunks, { stream_options: options }, { signal, leave }) {
  let next = Promise.resolve(first);
  const encoder = new TextEncoder();
  /** @param {ReadableStreamDefaultController} controller @param {any} data */
  const send = (controller, data) => controller.enqueue(encoder.encode(`data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`));
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await next;
        if (!done) {
          next = chunks.next();
          // Who asks for it hears of it.
          next.catch(() => {});
          const { usage, ...chunk } = value;
          send(controller, chunk);
          if (usage && options?.include_usage) send(controller, { ...chunk, choices: [], usage });
          return;
        }
        send(controller, "[DONE]");
      } catch (error) {
        if (signal.aborted) return controller.error(signal.reason);
        send(controller, { error: errorOf(error) });
      }
      controller.close();
    },
    cancel: () => leave.abort(),
  });
}
