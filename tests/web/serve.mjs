// Servers for the tests, on loopback at a port that the system picks: a static one under a sub-path, and a model hub that can fail.

import { createHash } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, sep } from "node:path";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
};

/** Bytes of a model that a slow line sends at a time. */
const BURST = 16_384;

/**
 * Serves `folder` at `http://127.0.0.1:PORT` under `base`, with byte ranges as any static host has them; models no faster than
 * `modelBytesPerSecond`, with `cors` to pages of other origins as well.
 * @param {string} folder
 * @param {{base?: string, modelBytesPerSecond?: number, cors?: boolean}} [options]
 * @returns {Promise<{url: string, close: () => Promise<void>}>}
 */
export function serve(folder, { base = "/some/path/", modelBytesPerSecond = Infinity, cors = false } = {}) {
  return listen(base, (path, request, response) => {
    if (cors) allowOthers(response);
    const rate = path.endsWith(".gguf") ? modelBytesPerSecond : Infinity;
    return sendFile(folder, path || "index.html", request, response, rate);
  });
}

/**
 * What is wrong with a hub; may be changed while it runs.
 * @typedef {object} Faults
 * @property {number} [budget] Bytes of files that it still sends.
 * @property {"cut" | "hang"} [spent] What it does after that: breaks the connection, or sends nothing more.
 * @property {number} [refill] The budget after a connection is broken.
 * @property {boolean} [ignoresRange]
 * @property {string} [html] Sent instead of every file, with status 200.
 * @property {string} [etag] Instead of the files' own.
 * @property {string} [sha256] In the listing, instead of the files' own.
 * @property {number} [listedBytes] In the listing, instead of the large files' own.
 * @property {number} [bytesPerSecond] Of each connection.
 */

/** A request for a file: its name, and the first byte that it asked for. @typedef {{name: string, start: number | null}} Asked */

/**
 * A hub with one repository, `test/model`, whose files are those of `folder`; as a hub it allows other origins, names the digests of
 * large files, and redirects to where they lie.
 * @param {string} folder
 * @param {Faults} [faults]
 * @returns {Promise<{url: string, asked: Asked[], faults: Faults, close: () => Promise<void>}>}
 */
export async function serveHub(folder, faults = {}) {
  /** @type {Asked[]} */
  const asked = [];
  const server = await listen("/", async (path, request, response) => {
    allowOthers(response);
    const [resolve, storage] = ["test/model/resolve/main/", "storage/"];
    if (path === "api/models/test/model/tree/main") {
      const files = (await readdir(folder)).map((name) => listed(folder, name, faults));
      response.setHeader("content-type", "application/json").end(JSON.stringify(await Promise.all(files)));
    } else if (path.startsWith(resolve)) {
      response.writeHead(302, { location: `/${storage}${path.slice(resolve.length)}` }).end();
    } else if (path.startsWith(storage)) {
      const name = path.slice(storage.length);
      const range = request.headers.range;
      if (request.method === "GET") asked.push({ name, start: range ? Number(/\d+/.exec(range)[0]) : null });
      if (faults.ignoresRange) delete request.headers.range;
      if (faults.html) response.setHeader("content-type", "text/html").end(faults.html);
      else await sendFile(folder, name, request, response, faults.bytesPerSecond, faults);
    } else {
      throw new Error("no such repository");
    }
  });
  return { ...server, asked, faults };
}

/** A file as the hub's tree API has it. @param {string} folder @param {string} name @param {Faults} faults */
async function listed(folder, name, faults) {
  const isLarge = /\.(gguf|safetensors)$/.test(name);
  const size = (isLarge && faults.listedBytes) || (await stat(join(folder, name))).size;
  const oid = isLarge && (faults.sha256 ?? createHash("sha256").update(readFileSync(join(folder, name))).digest("hex"));
  return { type: "file", path: name, size, oid: `blob-${size}`, ...(isLarge ? { lfs: { oid, size } } : {}) };
}

/** @param {import("node:http").ServerResponse} response */
function allowOthers(response) {
  response.setHeader("access-control-allow-origin", "*");
  response.setHeader("access-control-expose-headers", "content-range, content-length, etag");
}

/**
 * @param {string} base
 * @param {(path: string, request: import("node:http").IncomingMessage, response: import("node:http").ServerResponse) => Promise<void>} answer
 */
async function listen(base, answer) {
  const server = createServer(async (request, response) => {
    try {
      const { pathname } = new URL(request.url, "http://127.0.0.1");
      if (!pathname.startsWith(base)) throw new Error("outside");
      await answer(decodeURIComponent(pathname.slice(base.length)), request, response);
    } catch {
      response.writeHead(404).end("not found");
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(() => resolve(undefined)));
  };
  return { url: `http://127.0.0.1:${port}${base}`, close };
}

/** @param {AsyncIterable<Buffer>} bytes @param {number} bytesPerSecond */
async function* throttled(bytes, bytesPerSecond) {
  for await (const burst of bytes) {
    yield burst;
    await new Promise((resolve) => setTimeout(resolve, (burst.length / bytesPerSecond) * 1000));
  }
}

/** Sends bytes until they or the budget end. @param {AsyncIterable<Buffer>} bytes @param {Faults} faults @param {import("node:http").ServerResponse} response */
async function send(bytes, faults, response) {
  for await (const burst of bytes) {
    const n = Math.min(burst.length, faults.budget ?? Infinity);
    if (faults.budget !== undefined) faults.budget -= n;
    if (n > 0) await new Promise((resolve) => response.write(burst.subarray(0, n), resolve));
    if (response.destroyed) return;
    if (n === burst.length) continue;
    if (faults.spent === "hang") return;
    response.destroy();
    faults.budget = faults.refill ?? 0;
    return;
  }
  response.end();
}

/**
 * @param {string} folder
 * @param {string} name
 * @param {import("node:http").IncomingMessage} request
 * @param {import("node:http").ServerResponse} response
 * @param {number} [bytesPerSecond]
 * @param {Faults} [faults]
 */
async function sendFile(folder, name, request, response, bytesPerSecond = Infinity, faults = {}) {
  const path = normalize(join(folder, name));
  if (!path.startsWith(normalize(folder) + sep)) throw new Error("outside");
  const { size, mtimeMs } = await stat(path);
  /** @type {Record<string, string>} */
  const headers = { "content-type": TYPES[extname(path)] ?? "application/octet-stream", "accept-ranges": "bytes" };
  headers.etag = faults.etag ?? `"${size}-${Math.round(mtimeMs)}"`;
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const first = range ? Number(range[1]) : 0;
  const last = range?.[2] ? Math.min(Number(range[2]), size - 1) : size - 1;
  headers["content-length"] = String(last - first + 1);
  if (range) headers["content-range"] = `bytes ${first}-${last}/${size}`;
  response.writeHead(range ? 206 : 200, headers);
  if (request.method === "HEAD" || size === 0) {
    response.end();
    return;
  }
  const bytes = createReadStream(path, { start: first, end: last, highWaterMark: BURST });
  const paced = bytesPerSecond === Infinity ? bytes : throttled(bytes, bytesPerSecond);
  await send(paced, faults, response);
}
