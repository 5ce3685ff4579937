// Servers for the tests, on loopback at a port that the system picks: a static one under a sub-path, and a model hub.

import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, sep } from "node:path";
import { Readable } from "node:stream";

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
 * A hub with one repository, `test/model`, whose files are those of `folder`; as a hub it allows other origins.
 * @param {string} folder
 * @returns {Promise<{url: string, close: () => Promise<void>}>}
 */
export function serveHub(folder) {
  return listen("/", async (path, request, response) => {
    allowOthers(response);
    const resolve = "test/model/resolve/main/";
    if (path === "api/models/test/model/tree/main") {
      const names = await readdir(folder);
      const files = names.map(async (name) => ({ type: "file", path: name, size: (await stat(join(folder, name))).size }));
      response.setHeader("content-type", "application/json").end(JSON.stringify(await Promise.all(files)));
    } else if (path.startsWith(resolve)) {
      await sendFile(folder, path.slice(resolve.length), request, response);
    } else {
      throw new Error("no such repository");
    }
  });
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
    return new Promise((resolve, reject) => server.close((error) => (error ? reject(error) : resolve(undefined))));
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

/**
 * @param {string} folder
 * @param {string} name
 * @param {import("node:http").IncomingMessage} request
 * @param {import("node:http").ServerResponse} response
 * @param {number} [bytesPerSecond]
 */
async function sendFile(folder, name, request, response, bytesPerSecond = Infinity) {
  const path = normalize(join(folder, name));
  if (!path.startsWith(normalize(folder) + sep)) throw new Error("outside");
  const { size } = await stat(path);
  const headers = { "content-type": TYPES[extname(path)] ?? "application/octet-stream", "accept-ranges": "bytes" };
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
  const paced = bytesPerSecond === Infinity ? bytes : Readable.from(throttled(bytes, bytesPerSecond));
  paced.pipe(response);
}
