// What a person types stays in this browser, and where it belongs: a canary is followed through every request and every store.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { newPage, openSite } from "./browser.mjs";

/** @type {Awaited<ReturnType<typeof openSite>>} */
let site;
before(async () => (site = await openSite()));
after(() => site?.close());

const CANARY = "Quillfeather7194";

/** Everything that the origin keeps, by where it is kept. */
async function everythingKept() {
  /** @type {Record<string, string>} */
  const kept = { localStorage: JSON.stringify(localStorage), sessionStorage: JSON.stringify(sessionStorage), cookie: document.cookie };
  kept.address = location.href + document.title;
  for (const { name, version } of await indexedDB.databases()) {
    const database = await new Promise((resolve, reject) => {
      const request = indexedDB.open(name, version);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    for (const store of database.objectStoreNames) {
      kept[`indexedDB ${name} ${store}`] = await new Promise((resolve, reject) => {
        const request = database.transaction(store).objectStore(store).getAll();
        request.onsuccess = () => resolve(JSON.stringify(request.result));
        request.onerror = () => reject(request.error);
      });
    }
    database.close();
  }
  for (const name of await caches.keys()) {
    const cache = await caches.open(name);
    for (const request of await cache.keys()) kept[`cache ${name} ${request.url}`] = await (await cache.match(request)).text();
  }
  /** @param {any} folder @param {string} path */
  const walk = async (folder, path) => {
    for await (const [name, entry] of folder.entries()) {
      if (entry.kind === "directory") await walk(entry, `${path}/${name}`);
      else kept[`file ${path}/${name}`] = await (await entry.getFile()).text();
    }
  };
  await walk(await navigator.storage.getDirectory(), "");
  return kept;
}

test("a canary that is typed reaches no request, and no store but that of the conversations", async () => {
  const { page, faults } = await newPage(site);
  /** @type {Promise<string>[]} */
  const requests = [];
  page.context().on("request", (request) => {
    const headers = request.allHeaders().catch(() => ({}));
    requests.push(headers.then((headers) => JSON.stringify([request.method(), request.url(), headers, request.postData()])));
  });
  page.on("websocket", (socket) => requests.push(Promise.resolve(`websocket ${socket.url()}`)));
  await page.goto(site.url);
  await page.locator("#stage-words:text('Ready')").waitFor();
  await page.locator("#open-settings").click();
  await page.getByLabel("At most tokens").fill("8");
  await page.locator("#settings [data-close]").click();
  await page.getByRole("textbox", { name: "Message" }).fill(`${CANARY} went to the sea`);
  await page.keyboard.press("Enter");
  await page.locator(".answer .figures").waitFor();
  await page.locator("#open-system").click();
  await page.getByRole("textbox", { name: "System prompt" }).fill(`Call me ${CANARY}`);
  await page.getByRole("textbox", { name: "Name" }).fill(CANARY);
  await page.keyboard.press("Enter");
  await page.locator("#system-sheet [data-close]").click();
  await page.getByRole("searchbox").fill(CANARY);
  await page.locator("#chat-list .title", { hasText: CANARY }).waitFor();
  await page.getByRole("tab", { name: "Classify" }).click();
  await page.getByRole("textbox", { name: "Text" }).fill(`${CANARY} is lovely`);
  await page.keyboard.press("Enter");
  await page.locator(".score").first().waitFor();
  await page.reload();
  await page.locator("#chat-list .title", { hasText: CANARY }).waitFor();

  const sent = await Promise.all(requests);
  assert.ok(sent.length > 20, `${sent.length} requests seen: too few to be all`);
  assert.deepEqual(sent.filter((request) => request.includes(CANARY)), []);
  const elsewhere = sent.map((request) => JSON.parse(request)[1]).filter((url) => !url.startsWith(site.url) && !/^(data|blob):/.test(url));
  assert.deepEqual(elsewhere, []);
  const kept = await page.evaluate(everythingKept);
  const places = Object.keys(kept).filter((place) => kept[place].includes(CANARY));
  assert.deepEqual(places.sort(), ["indexedDB trice conversations", "indexedDB trice presets"]);
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("the content policy lets the page reach what it says, and nothing else", async () => {
  const { page } = await newPage(site);
  await page.goto(site.url);
  const policy = await page.locator("meta[http-equiv=Content-Security-Policy]").getAttribute("content");
  const rules = Object.fromEntries(policy.split("; ").map((rule) => [rule.split(" ")[0], rule.split(" ").slice(1).join(" ")]));
  assert.deepEqual(rules, {
    "default-src": "'none'",
    "script-src": "'self' 'wasm-unsafe-eval'",
    "style-src": "'self'",
    "connect-src": "'self' https: http://127.0.0.1:*",
    "manifest-src": "'self'",
    "worker-src": "'self'",
    "img-src": "'self' data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "default",
  });
  const outcomes = await page.evaluate(async () => {
    const attempt = (/** @type {() => Promise<any>} */ act) => act().then(() => "done", () => "refused");
    const image = () => new Promise((resolve, reject) => {
      Object.assign(new Image(), { onload: resolve, onerror: reject, src: "http://localhost:9/x.png" });
    });
    return {
      plain: await attempt(() => fetch("http://localhost:9/")),
      image: await attempt(image),
      inline: await attempt(async () => new Function("return 1")()),
      worker: await attempt(async () => new Worker("https://example.org/worker.js")),
      blob: await attempt(async () => new Worker(URL.createObjectURL(new Blob(["0"], { type: "text/javascript" })))),
      own: await attempt(async () => new Worker(new URL("web/worker.js", document.baseURI), { type: "module" }).terminate()),
    };
  });
  assert.deepEqual(outcomes, { plain: "refused", image: "refused", inline: "refused", worker: "refused", blob: "refused", own: "done" });
  await page.context().close();
});
