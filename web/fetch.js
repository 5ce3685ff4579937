// OpenAI's HTTP over a model, without a server: what its clients take for `fetch`.

/** @import { CompletionRequest, Model } from "./engine.js" */

/** @param {Model} model @returns {Model["openai"]["fetch"]} */
export function fetchOver(model) {
  return async (input, init) => {
    const request = new Request(input, init);
    const path = new URL(request.url).pathname;
    try {
      const body = { ...(await request.json()), signal: request.signal };
      if (path.endsWith("/embeddings")) return answer(await embeddings(model, body));
      if (!path.endsWith("/chat/completions")) return refuse(404, { name: "not_found", message: `there is no ${path} here` });
      const completion = await model.openai.chat.completions.create(body);
      if (!body.stream) return answer(completion);
      const first = await completion.next();
      return new Response(events(first, completion, body), { headers: { "Content-Type": "text/event-stream" } });
    } catch (error) {
      request.signal.throwIfAborted();
      return refuse(statusOf(error), error);
    }
  };
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
function errorOf({ name, message }) {
  return { message, type: name === "Gpu" ? "server_error" : "invalid_request_error", param: null, code: name === "Limit" ? "context_length_exceeded" : name };
}

/** Who can mend it: the one who asks, or nobody here. @param {any} error */
function statusOf({ name }) {
  return ["Invalid", "Limit", "Unsupported", "Format", "SyntaxError"].includes(name) ? 400 : 500;
}

/** @param {Model} model @param {{input: string | string[], encoding_format?: "float" | "base64"}} body */
async function embeddings(model, { input, encoding_format: format }) {
  const vectors = await model.embed([input].flat());
  const data = vectors.map((vector, index) => ({ object: "embedding", index, embedding: format === "base64" ? base64(vector) : vector }));
  return { object: "list", data, model: model.info.name, usage: { prompt_tokens: 0, total_tokens: 0 } };
}

/** The bytes of 32-bit floats, as OpenAI's own clients ask for them. @param {number[]} vector */
function base64(vector) {
  return btoa(Array.from(new Uint8Array(new Float32Array(vector).buffer), (byte) => String.fromCharCode(byte)).join(""));
}

/**
 * Server-sent events, one a chunk; whoever stops reading stops the answer.
 * @param {IteratorResult<any, void>} first
 * @param {AsyncGenerator<any, void, void>} chunks The others.
 * @param {CompletionRequest} request
 */
function events(first, chunks, { stream_options: options }) {
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
        send(controller, { error: errorOf(error) });
      }
      controller.close();
    },
    cancel: () => void chunks.return(),
  });
}
