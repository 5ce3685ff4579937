// The page without a network: its own files are kept from the first visit on, all of one version together. `cargo xtask web`
// copies this beside index.html, behind a line that defines `SITE`: the version and the site's files.

/** @type {{version: string, files: string[]}} */
// @ts-expect-error Defined by that line.
const site = SITE;
const scope = /** @type {any} */ (globalThis);
const CACHE = `trice-${site.version}`;

/** Models that nobody asked for yet are fetched when somebody does; these two greet. */
const GREETING = ["models/stories.gguf", "models/sentiment.gguf"];

/** @param {string} path */
const isLater = (path) => path.startsWith("models/") && !GREETING.includes(path);

/** Files on their way into the cache: two parts of one are asked for at once. @type {Map<string, Promise<Response>>} */
const coming = new Map();

/** The file of the site that an address means; undefined for anything else. @param {string} address */
function fileOf(address) {
  const { href } = new URL(address);
  const base = scope.registration.scope;
  if (!href.startsWith(base)) return undefined;
  const path = href.slice(base.length).replace(/[?#].*$/, "") || "index.html";
  return site.files.includes(path) ? path : undefined;
}

/** A file, whole, from the cache or into it. @param {string} path */
async function whole(path) {
  const cache = await caches.open(CACHE);
  const address = new URL(path, scope.registration.scope).href;
  const kept = await cache.match(address);
  if (kept) return kept;
  const known = coming.get(path) ?? fetched(cache, address).finally(() => coming.delete(path));
  coming.set(path, known);
  return (await known).clone();
}

/** @param {Cache} cache @param {string} address */
async function fetched(cache, address) {
  // Asks the server whether the browser's own copy is of this version still.
  const answer = await fetch(address, { cache: "no-cache" });
  if (answer.ok) await cache.put(address, answer.clone()).catch(() => {}); // A full disk costs the offline visit alone.
  return answer;
}

/** Bytes of a file, as a server would send them. @param {Response} file @param {string} range */
async function part(file, range) {
  const blob = await file.blob();
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(range) ?? [];
  if (first === undefined) return new Response(blob, { headers: file.headers });
  const start = Number(first);
  const end = Math.min(last ? Number(last) + 1 : blob.size, blob.size);
  if (start >= end) return new Response(null, { status: 416, headers: { "Content-Range": `bytes */${blob.size}` } });
  const headers = {
    "Content-Type": file.headers.get("Content-Type") ?? "application/octet-stream",
    "Content-Range": `bytes ${start}-${end - 1}/${blob.size}`,
    "Content-Length": String(end - start),
  };
  return new Response(blob.slice(start, end), { status: 206, headers });
}

/** @param {string} path @param {Request} request */
async function answer(path, request) {
  const file = await whole(path);
  const range = request.headers.get("Range");
  return range && file.ok ? part(file, range) : file;
}

/** A version is kept whole or not at all. */
async function install() {
  const answers = await Promise.all(site.files.filter((path) => !isLater(path)).map(whole));
  const missing = answers.find((answer) => !answer.ok);
  if (missing) throw new Error(`${missing.url}: status ${missing.status}`);
}

/** Drops what earlier versions kept. */
async function activate() {
  const old = (await caches.keys()).filter((name) => name.startsWith("trice-") && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  await scope.clients.claim();
}

scope.addEventListener("install", (/** @type {any} */ event) => event.waitUntil(install()));
scope.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(activate()));
scope.addEventListener("fetch", (/** @type {any} */ event) => {
  const path = event.request.method === "GET" ? fileOf(event.request.url) : undefined;
  if (path !== undefined) event.respondWith(answer(path, event.request));
});
// A page that is alone asks the version that waits to take over; beside others it would mix two.
scope.addEventListener("message", async (/** @type {any} */ { data }) => {
  if (data !== "take over") return;
  const pages = await scope.clients.matchAll({ includeUncontrolled: true, type: "window" });
  if (pages.length === 1) scope.skipWaiting();
});
