// A static server for the tests: one folder on loopback, at a port that the system picks, under a sub-path.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, sep } from "node:path";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/**
 * Serves `folder` at `http://127.0.0.1:PORT/some/path/`, with byte ranges as any static host has them.
 * @param {string} folder
 * @returns {Promise<{url: string, close: () => Promise<void>}>}
 */
export async function serve(folder) {
  const base = "/some/path/";
  const server = createServer((request, response) => {
    answer(folder, base, request, response).catch(() => response.writeHead(404).end("not found"));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(() => resolve(undefined)));
  };
  return { url: `http://127.0.0.1:${port}${base}`, close };
}

async function answer(folder, base, request, response) {
  const { pathname } = new URL(request.url, "http://127.0.0.1");
  if (!pathname.startsWith(base)) throw new Error("outside");
  const inner = pathname.slice(base.length) || "index.html";
  const path = normalize(join(folder, decodeURIComponent(inner)));
  if (!path.startsWith(normalize(folder) + sep)) throw new Error("outside");
  const { size } = await stat(path);
  const headers = { "content-type": TYPES[extname(path)] ?? "application/octet-stream", "accept-ranges": "bytes" };
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const first = range ? Number(range[1]) : 0;
  const last = range?.[2] ? Math.min(Number(range[2]), size - 1) : size - 1;
  headers["content-length"] = String(last - first + 1);
  if (range) headers["content-range"] = `bytes ${first}-${last}/${size}`;
  response.writeHead(range ? 206 : 200, headers);
  if (request.method === "HEAD" || size === 0) response.end();
  else createReadStream(path, { start: first, end: last }).pipe(response);
}
