// Parts of files from servers: asked for again where a line breaks, refused where an answer is no file. Knows no store.

import { EngineError } from "./connection.js";

/** Tries after the first, of which each waits twice as long; one that brought bytes begins the count anew. */
const RETRIES = 3;
const BACKOFF_MS = 200;
/** A server that sends nothing for so long is given up. */
const STALLED_MS = 30_000;

/**
 * A file of a model on a server, as `remoteFiles` of `src/web/store.rs` gives it; what is unknown is null.
 * @typedef {object} RemoteFile
 * @property {string} path Its name in the model.
 * @property {string} url
 * @property {number | null} size
 * @property {string | null} sha256
 * @property {string | null} version
 * @property {string | null} [token]
 */

/** What the wasm module lends: see `src/web/store.rs`. @typedef {any} Library */

/** @typedef {{size: number, etag: string | null, ranges: boolean}} Served */

/** A failure that another try may mend. */
class Passing extends EngineError {
  /** @param {string} message */
  constructor(message) {
    super("Io", message);
  }
}

/** What is here of a file is of no use. Named "Format", or "StartOver" where the file is another one now and can be fetched again. */
export class Useless extends EngineError {}

/** @param {string} message */
const startOver = (message) => new Useless("StartOver", message);

/** What a server says of a file. @param {Library} library @param {RemoteFile} file @returns {Promise<Served>} */
export async function askAbout(library, file) {
  return persist(async () => {
    const reply = await ask(library, file, { range: "bytes=0-0" });
    await reply.body?.cancel();
    const ranges = reply.status === 206;
    let size = ranges ? totalOf(reply) : lengthOf(reply);
    // Servers need not let other origins see Content-Range; of a whole file's answer they see the length.
    if (size === null) size = lengthOf(await ask(library, file, { method: "HEAD" }));
    if (size === null) throw new EngineError("Unsupported", `${file.url}: the server does not say how long the file is`);
    return { size, etag: reply.headers.get("etag"), ranges };
  });
}

/**
 * Bytes `start` to `end` of a file, to `write(chunk, at)` as they come. `served` is what the file was when its first byte came.
 * @param {Library} library
 * @param {RemoteFile} file
 * @param {{start: number, end: number}} range
 * @param {{served: Served, write: (chunk: Uint8Array, at: number) => void, signal: AbortSignal}} to
 */
export async function fetchRange(library, file, { start, end }, { served, write, signal }) {
  let at = start;
  const take = (/** @type {Uint8Array} */ chunk) => {
    if (at + chunk.length > end) throw new EngineError("Format", `${file.url}: ${end} bytes wanted, the server sends more`);
    write(chunk, at);
    at += chunk.length;
  };
  await persist(async () => {
    if (at === end) return;
    await receive(library, file, `bytes=${at}-${end - 1}`, { served, take, signal });
    if (at < end) throw new Passing(`${file.url}: the line broke at byte ${at} of ${end}`);
  }, () => at, signal);
}

/**
 * A whole file in one go, from a server that sends no parts: where the line breaks, all is fetched again.
 * @param {Library} library
 * @param {RemoteFile} file
 * @param {{served: Served, write: (chunk: Uint8Array, at: number) => void, signal: AbortSignal}} to
 */
export async function fetchWhole(library, file, { served, write, signal }) {
  let at = 0;
  const take = (/** @type {Uint8Array} */ chunk) => {
    if (at + chunk.length > served.size) throw new EngineError("Format", `${file.url}: ${served.size} bytes wanted, the server sends more`);
    write(chunk, at);
    at += chunk.length;
  };
  await receive(library, file, undefined, { served, take, signal });
  if (at < served.size) throw startOver(`${file.url}: the line broke at byte ${at} of ${served.size}, and the server sends no parts`);
}

/**
 * @param {Library} library
 * @param {RemoteFile} file
 * @param {string | undefined} range
 * @param {{served: Served, take: (chunk: Uint8Array) => void, signal: AbortSignal}} to
 */
async function receive(library, file, range, { served, take, signal }) {
  const stalled = new AbortController();
  let timer = setTimeout(() => stalled.abort(), STALLED_MS);
  try {
    const reply = await ask(library, file, { range, signal: AbortSignal.any([signal, stalled.signal]) });
    compare(file, reply, served, range);
    const reader = /** @type {ReadableStream<Uint8Array>} */ (reply.body).getReader();
    while (true) {
      const { done, value } = await reader.read().catch((error) => {
        throw new Passing(`${file.url}: ${error.message}`);
      });
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => stalled.abort(), STALLED_MS);
      take(value);
    }
  } finally {
    clearTimeout(timer);
    // An answer that is not read to its end.
    stalled.abort();
  }
}

/** One request whose answer holds a file. @param {Library} library @param {RemoteFile} file @param {{method?: string, range?: string, signal?: AbortSignal}} how */
async function ask(library, file, { method, range, signal }) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (range) headers.range = range;
  if (file.token) headers.authorization = `Bearer ${file.token}`;
  const reply = await fetch(file.url, { method, headers, signal, cache: "no-store" }).catch((error) => {
    throw new Passing(`${file.url}: ${error.message}`);
  });
  try {
    library.checkReply(file.url, reply.status, reply.headers.get("content-type") ?? undefined);
  } catch (error) {
    await reply.body?.cancel();
    throw reply.status === 429 || reply.status >= 500 ? new Passing(/** @type {Error} */ (error).message) : error;
  }
  return reply;
}

/** Whether an answer is of the same file, and the part that was asked for. @param {RemoteFile} file @param {Response} reply @param {Served} served @param {string} [range] */
function compare(file, reply, served, range) {
  if (range && reply.status !== 206) throw startOver(`${file.url}: the server sends no parts of the file any more`);
  const etag = reply.headers.get("etag");
  if (etag !== null && served.etag !== null && etag !== served.etag) {
    throw startOver(`${file.url}: the file changed on the server (${served.etag} was its version, now it is ${etag})`);
  }
  const size = range ? totalOf(reply) : lengthOf(reply);
  if (size !== null && size !== served.size) throw startOver(`${file.url}: ${served.size} bytes wanted, the server has ${size}`);
  const sent = reply.headers.get("content-range")?.replace(" ", "=").split("/")[0];
  if (range && sent !== undefined && sent !== range) throw new EngineError("Format", `${file.url}: ${range} wanted, the server sends ${sent}`);
}

/** The total in `bytes 0-0/123`. @param {Response} reply */
function totalOf(reply) {
  const total = /\/(\d+)$/.exec(reply.headers.get("content-range") ?? "")?.[1];
  return total === undefined ? null : Number(total);
}

/** @param {Response} reply */
function lengthOf(reply) {
  const length = reply.headers.get("content-length");
  return length === null ? null : Number(length);
}

/**
 * Runs `work` again where it failed in passing; `progress` tells whether a try brought something.
 * @template T
 * @param {() => Promise<T>} work
 * @param {() => number} [progress]
 * @param {AbortSignal} [signal]
 */
async function persist(work, progress = () => 0, signal) {
  for (let failures = 0; ; ) {
    const before = progress();
    try {
      return await work();
    } catch (error) {
      failures = progress() > before ? 1 : failures + 1;
      if (!(error instanceof Passing) || signal?.aborted || failures > RETRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, BACKOFF_MS * 2 ** (failures - 1)));
    }
  }
}
