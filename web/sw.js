// The page without a network: its own files are kept from the first visit on, all of one version together. `cargo xtask web`
// copies this beside index.html, behind a line that defines `SITE`: the version and the site's files.
//
// With a network the newest version is shown, always: every opening of the page asks whether this script still is the server's. Where it
// is not, what was kept is dropped (another program may serve this address by now), and the browser fetches the new script by itself.

/** @type {{version: string, files: string[]}} */
// @ts-expect-error Defined by that line.
const site = SITE;
const scope = /** @type {any} */ (globalThis);
const CACHE = `trice-${site.version}`;

/** Models that nobody asked for yet are fetched when somebody does; these two greet. */
const GREETING = ["models/stories.gguf", "models/sentiment.gguf"];

/** @param {string} path */
const isLater = (path) => path.startsWith("models/") && !GREETING.includes(path);

/** @param {string} path */
const addressOf = (path) => new URL(path, scope.registration.scope).href;

/** The file of the site that an address means; undefined for anything else. @param {string} address */
function fileOf(address) {
  const base = scope.registration.scope;
  if (!address.startsWith(base)) return undefined;
  const path = address.slice(base.length).replace(/[?#].*$/, "") || "index.html";
  return site.files.includes(path) ? path : undefined;
}

/** Models on their way into the cache: two parts of one are asked for at once. @type {Map<string, Promise<Response>>} */
const coming = new Map();

/** Puts a file into the cache and resolves to it. @param {string} path */
async function keep(path) {
  const address = addressOf(path);
  // Asks the server whether the browser's own copy is of this version still.
  const answer = await fetch(address, { cache: "no-cache" });
  if (!answer.ok) throw new Error(`${address}: status ${answer.status}`);
  const cache = await caches.open(CACHE);
  await cache.put(address, answer.clone());
  return answer;
}

/** A model is kept whole, once it is wanted. @param {string} path */
async function keptModel(path) {
  const known = coming.get(path) ?? keep(path).finally(() => coming.delete(path));
  coming.set(path, known);
  return (await known).clone();
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

/** What is kept, or what the server has. @param {string} path @param {Request} request */
async function answer(path, request) {
  if (request.mode === "navigate") await dropWhatIsOld();
  let file = await caches.match(addressOf(path), { cacheName: CACHE });
  // A full disk, or a server that is gone, costs the keeping alone.
  if (!file && isLater(path) && (await caches.has(CACHE))) file = await keptModel(path).catch(() => undefined);
  if (!file) return fetch(request);
  const range = request.headers.get("Range");
  return range ? part(file, range) : file;
}

/** Without a network nothing is known to be old. */
async function dropWhatIsOld() {
  const script = await fetch(addressOf("sw.js"), { cache: "no-cache" }).catch(() => null);
  if (script === null || script.status >= 500) return;
  const isCurrent = script.ok && (await script.text()).includes(site.version);
  if (isCurrent) return;
  await caches.delete(CACHE);
  if (!script.ok) await scope.registration.unregister();
}

/** A version is kept whole or not at all. */
async function install() {
  await Promise.all(site.files.filter((path) => !isLater(path)).map(keep));
  await scope.skipWaiting();
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
