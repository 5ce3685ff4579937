// What the browser keeps of models from a hub: resumed, checked, mended, refused, shared by tabs. Every fault is one that a server, a
// disk or a person makes.

import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { newPage, openSite, sharedModel, withoutApp } from "./browser.mjs";
import { serveHub } from "./serve.mjs";

const WEIGHTS = "model.safetensors";
/** Small pieces for a small model: 2.6 MB make eleven. */
// x
const KEEP = { pieceBytes: 1 << 18, ranges: 2 };
const NAME = "hf:test/model";

/** @type {Awaited<ReturnType<typeof openSite>>} */
let site;
before(async () => (site = await openSite()));
after(() => site?.close());

/**
 * A hub with a model, a page that runs no engine of its own, and what both hold. Skips without the shared models.
 * @param {import("node:test").TestContext} t
 * @param {import("./serve.mjs").Faults} [faults]
 * @param {string} [model]
 */
async function setUp(t, faults = {}, model = "TinyStories-656K") {
  const folder = sharedModel(model);
  if (!folder) return t.skip("no TRICE_SHARED");
  const hub = await serveHub(folder, faults);
  const { page } = await newPage(site);
  t.after(async () => {
    await page.context().close();
    await hub.close();
  });
  await blank(page);
  return { hub, page, folder, size: statSync(join(folder, WEIGHTS)).size };
}

/** @param {import("playwright-core").Page} page */
async function blank(page) {
  await withoutApp(page);
  await page.goto(site.url);
}

/** @typedef {{error?: string, tokens?: number[], stages: string[], first?: any, kept: any[], heap?: number}} Loaded */

/**
 * Loads a model in the page and says what came of it.
 * @param {import("playwright-core").Page} page
 * @param {string} name
 * @param {object} options
 * @returns {Promise<Loaded>}
 */
function loadIn(page, name, options) {
  return page.evaluate(
    async ({ name, options }) => {
      const { load, keptModels } = await import(new URL("web/engine.js", document.baseURI).href);
      /** @type {any[]} */
      const events = [];
      /** @type {any} */ (window).events = events;
      const found = { stages: /** @type {string[]} */ ([]) };
      try {
        const model = await load(name, { ...options, onProgress: (/** @type {any} */ event) => events.push(event) });
        if (model.info.kind === "decoder") {
          const { tokens } = await model.generate({ prompt: "Once upon a time", raw: true }, { temperature: 0, maxTokens: 8 });
          Object.assign(found, { tokens });
        }
        Object.assign(found, { heap: model.info.heap_bytes });
        await model.dispose();
      } catch (error) {
        const { name, message } = /** @type {Error} */ (error);
        Object.assign(found, { error: `${name}: ${message}` });
      }
      const stages = [...new Set(events.map(({ stage }) => stage))];
      return { ...found, stages, first: events.find(({ stage }) => stage === "downloading"), kept: await keptModels() };
    },
    { name, options },
  );
}

/** Begins a load in the page and does not wait for it. @param {import("playwright-core").Page} page @param {object} options */
function beginLoad(page, options) {
  return page.evaluate(
    async ({ name, options }) => {
      const { load } = await import(new URL("web/engine.js", document.baseURI).href);
      const stop = new AbortController();
      const onProgress = (/** @type {any} */ event) => (window.progress = event);
      Object.assign(window, { stop, ended: null });
      load(name, { ...options, signal: stop.signal, onProgress }).catch((error) => (window.ended = String(error)));
    },
    { name: NAME, options },
  );
}

/** Waits until so many bytes have come. @param {import("playwright-core").Page} page @param {number} bytes */
const untilDone = (page, bytes) => page.waitForFunction((bytes) => (window.progress?.done ?? 0) >= bytes, bytes);

/** Flips a bit of what is kept of a file. @param {import("playwright-core").Page} page @param {number} at Its byte, in the largest file. */
function flip(page, at) {
  return page.evaluate(async (at) => {
    const models = await (await navigator.storage.getDirectory()).getDirectoryHandle("models");
    /** @type {{handle: any, file: File} | null} */
    let largest = null;
    for await (const folder of /** @type {any} */ (models).values()) {
      for await (const handle of folder.values()) {
        const file = await handle.getFile();
        if (!largest || file.size > largest.file.size) largest = { handle, file };
      }
    }
    const { handle, file } = /** @type {NonNullable<typeof largest>} */ (largest);
    const [byte] = new Uint8Array(await file.slice(at, at + 1).arrayBuffer());
    const stream = await handle.createWritable({ keepExistingData: true });
    await stream.write({ type: "write", position: at, data: new Uint8Array([byte ^ 4]) });
    await stream.close();
  }, at);
}

/** Bytes asked for from where of the weights. @param {import("./serve.mjs").Asked[]} asked */
const startsOf = (asked) => asked.filter(({ name }) => name === WEIGHTS).map(({ start }) => start);

test("a model is fetched by ranges, kept, and read without the network", async (t) => {
  const found = await setUp(t);
  if (!found) return;
  const { hub, page, size } = found;
  const options = { endpoint: hub.url, keep: KEEP };
  const first = await loadIn(page, NAME, options);
  assert.equal(first.error, undefined);
  assert.ok(first.stages.includes("downloading"), first.stages.join(" "));
  const starts = startsOf(hub.asked);
  assert.equal(new Set(starts).size, Math.ceil(size / KEEP.pieceBytes), starts.join(" "));
  const [kept] = first.kept;
  assert.equal(kept.name, NAME);
  assert.ok(kept.done === kept.total && kept.total > size, JSON.stringify(kept));

  hub.asked.length = 0;
  const second = await loadIn(page, NAME, options);
  assert.deepEqual(second.tokens, first.tokens);
  assert.deepEqual(hub.asked, []);
  assert.ok(!second.stages.includes("downloading"), second.stages.join(" "));

  await hub.close();
  const offline = await loadIn(page, NAME, options);
  assert.deepEqual(offline.tokens, first.tokens, offline.error);

  const left = await page.evaluate(async () => {
    const { keptModels, forgetModel } = await import(new URL("web/engine.js", document.baseURI).href);
    for (const { id } of await keptModels()) await forgetModel(id);
    return keptModels();
  });
  assert.deepEqual(left, []);
});

test("without keeping nothing is kept", async (t) => {
  const found = await setUp(t);
  if (!found) return;
  const { tokens, kept } = await loadIn(found.page, NAME, { endpoint: found.hub.url, keep: false });
  assert.equal(tokens?.length, 8);
  assert.deepEqual(kept, []);
});

test("a download cut at 40 % fails clearly and goes on from there", async (t) => {
  const found = await setUp(t, { spent: "cut" }, "all-MiniLM-L6-v2");
  if (!found) return;
  const { hub, page, size } = found;
  hub.faults.budget = Math.round(size * 0.4);
  const options = { endpoint: hub.url };
  const cut = await loadIn(page, NAME, options);
  assert.match(cut.error ?? "", /^Io: .*storage|^Io: .*model\.safetensors/);
  const [{ done, total }] = cut.kept;
  // Of a line that breaks a browser drops what it had not handed over: half a megabyte of each connection.
  assert.ok(done >= 0.3 * total && done <= 0.4 * total, `${done} of ${total}`);

  hub.faults.budget = undefined;
  hub.asked.length = 0;
  const whole = await loadIn(page, NAME, options);
  assert.equal(whole.error, undefined);
  assert.ok(whole.first.done >= done, `${whole.first.done} of ${done}`);
  assert.ok(startsOf(hub.asked).every((start) => start !== null && start > 0), startsOf(hub.asked).join(" "));
  assert.equal(whole.kept[0].done, total);
  t.diagnostic(`cut with ${((done / total) * 100).toFixed(1)} % here; WebAssembly heap after the load ${(whole.heap ?? 0) / 1e6} MB`);
});

test("a line that breaks now and then is mended by itself", async (t) => {
  const found = await setUp(t, { spent: "cut", budget: 900_000, refill: 900_000 });
  if (!found) return;
  const { hub, page, size } = found;
  const { error, kept } = await loadIn(page, NAME, { endpoint: hub.url, keep: KEEP });
  assert.equal(error, undefined);
  assert.equal(kept[0].done, kept[0].total);
  // One request asks how long the file is, and one each for the pieces; what was cut is asked for again.
  const n = startsOf(hub.asked).length;
  assert.ok(n > 1 + Math.ceil(size / KEEP.pieceBytes), `${n} requests`);
});

test("a tab closed mid-download loses next to nothing", async (t) => {
  const found = await setUp(t, { spent: "hang" }, "all-MiniLM-L6-v2");
  if (!found) return;
  const { hub, page, size } = found;
  hub.faults.budget = Math.round(size * 0.4);
  const context = page.context();
  await beginLoad(page, { endpoint: hub.url });
  await untilDone(page, size * 0.395);
  await page.close();

  hub.faults.budget = undefined;
  hub.asked.length = 0;
  const again = await context.newPage();
  again.setDefaultTimeout(240_000);
  await blank(again);
  const whole = await loadIn(again, NAME, { endpoint: hub.url });
  assert.equal(whole.error, undefined);
  const share = whole.first.done / whole.first.total;
  assert.ok(share >= 0.39, `${share}`);
  assert.ok(startsOf(hub.asked).every((start) => start !== null && start > 0), startsOf(hub.asked).join(" "));
  t.diagnostic(`resumed with ${(share * 100).toFixed(1)} % here, from bytes ${startsOf(hub.asked).join(", ")}`);
});

test("pausing keeps what is here", async (t) => {
  const found = await setUp(t, { spent: "hang", budget: 1_500_000 });
  if (!found) return;
  const { hub, page } = found;
  await beginLoad(page, { endpoint: hub.url, keep: KEEP });
  await untilDone(page, 1_400_000);
  await page.evaluate(() => window.stop.abort());
  await page.waitForFunction(() => window.ended);
  hub.faults.budget = undefined;
  const whole = await loadIn(page, NAME, { endpoint: hub.url, keep: KEEP });
  assert.equal(whole.error, undefined);
  assert.ok(whole.first.done >= 1_390_000, String(whole.first.done));
});

test("a flipped bit in what is kept is found, and its piece alone comes again", async (t) => {
  const found = await setUp(t);
  if (!found) return;
  const { hub, page } = found;
  const options = { endpoint: hub.url, keep: KEEP };
  const { tokens } = await loadIn(page, NAME, options);
  await flip(page, 5 * KEEP.pieceBytes + 1234);
  hub.asked.length = 0;
  const mended = await loadIn(page, NAME, options);
  assert.deepEqual(mended.tokens, tokens, mended.error);
  assert.ok(mended.stages.includes("mending"), mended.stages.join(" "));
  assert.deepEqual(startsOf(hub.asked), [5 * KEEP.pieceBytes]);
  const mending = await page.evaluate(() => window.events.find((/** @type {any} */ { stage }) => stage === "mending"));
  assert.deepEqual([mending.done, mending.total], [6, 11]);

  hub.asked.length = 0;
  await loadIn(page, NAME, options);
  assert.deepEqual(hub.asked, []);
});

test("of damaged pieces that are read at once each is mended", async (t) => {
  const found = await setUp(t);
  if (!found) return;
  const { hub, page } = found;
  const options = { endpoint: hub.url, keep: KEEP };
  const { tokens } = await loadIn(page, NAME, options);
  const pieces = [3, 4, 5];
  for (const piece of pieces) await flip(page, piece * KEEP.pieceBytes + 1234);
  hub.asked.length = 0;
  hub.faults.bytesPerSecond = 200_000;
  const mended = await loadIn(page, NAME, options);
  assert.deepEqual(mended.tokens, tokens, mended.error);
  assert.deepEqual(startsOf(hub.asked), pieces.map((piece) => piece * KEEP.pieceBytes));
});

test("a flipped bit in half a download is found when it goes on", async (t) => {
  const found = await setUp(t, { spent: "cut", budget: 1_500_000 });
  if (!found) return;
  const { hub, page } = found;
  const options = { endpoint: hub.url, keep: KEEP };
  await loadIn(page, NAME, options);
  await flip(page, KEEP.pieceBytes + 99);
  hub.faults.budget = undefined;
  hub.asked.length = 0;
  const whole = await loadIn(page, NAME, options);
  assert.equal(whole.error, undefined);
  assert.equal(whole.tokens?.length, 8);
  assert.ok(startsOf(hub.asked).includes(KEEP.pieceBytes), startsOf(hub.asked).join(" "));
});

test("a damaged piece that cannot be fetched is named, and the rest stays", async (t) => {
  const found = await setUp(t);
  if (!found) return;
  const { hub, page } = found;
  const options = { endpoint: hub.url, keep: KEEP };
  await loadIn(page, NAME, options);
  await flip(page, 5 * KEEP.pieceBytes);
  await hub.close();
  // The piece cannot be asked for: what is here stays for a better time.
  const alone = await loadIn(page, NAME, options);
  assert.match(alone.error ?? "", /^Io: .*model\.safetensors/);
  assert.ok(alone.kept[0].done > 2e6);
});

test("a file that changed on the server is fetched anew", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "trice-hub-"));
  copyFileSync(new URL("../../models/stories.gguf", import.meta.url), join(folder, "stories.gguf"));
  const hub = await serveHub(folder, { spent: "cut", budget: 1_000_000 });
  const { page } = await newPage(site);
  t.after(async () => {
    await page.context().close();
    await hub.close();
    rmSync(folder, { recursive: true });
  });
  await blank(page);
  // An address, of which no listing tells that it changed.
  const address = `${hub.url}storage/stories.gguf`;
  const cut = await loadIn(page, address, { keep: KEEP });
  assert.match(cut.error ?? "", /^Io: .*stories\.gguf/);
  assert.ok(cut.kept[0].done > 0 && cut.kept[0].done < cut.kept[0].total, JSON.stringify(cut.kept));

  Object.assign(hub.faults, { budget: undefined, etag: '"another"' });
  hub.asked.length = 0;
  const whole = await loadIn(page, address, { keep: KEEP });
  assert.equal(whole.error, undefined);
  const starts = hub.asked.map(({ start }) => start);
  assert.ok(Number(starts[0]) > 0 && starts.includes(0), starts.join(" "));
  assert.equal(whole.kept[0].done, whole.kept[0].total);
});

test("a server that ignores ranges sends all of it, again after a cut", async (t) => {
  const found = await setUp(t, { ignoresRange: true });
  if (!found) return;
  const { hub, page, size } = found;
  const options = { endpoint: hub.url, keep: KEEP };
  const loaded = await loadIn(page, NAME, options);
  assert.equal(loaded.error, undefined);
  assert.equal(loaded.kept[0].done, loaded.kept[0].total);

  await page.evaluate(async () => {
    const { keptModels, forgetModel } = await import(new URL("web/engine.js", document.baseURI).href);
    for (const { id } of await keptModels()) await forgetModel(id);
  });
  // Half by ranges, then the server forgets about them.
  Object.assign(hub.faults, { ignoresRange: false, spent: "cut", budget: size / 2 });
  await loadIn(page, NAME, options);
  Object.assign(hub.faults, { ignoresRange: true, budget: undefined });
  const whole = await loadIn(page, NAME, options);
  assert.deepEqual(whole.tokens, loaded.tokens, whole.error);
});

test("an HTML page instead of weights is refused by name and not kept", async (t) => {
  const found = await setUp(t, { html: "<!doctype html><title>Sign in</title>" });
  if (!found) return;
  const { error, kept } = await loadIn(found.page, NAME, { endpoint: found.hub.url, keep: KEEP });
  assert.match(error ?? "", /^Format: .*(json|safetensors).*HTML page/);
  assert.deepEqual(kept, []);
});

test("a file of another digest is refused by name and not kept", async (t) => {
  const found = await setUp(t, { sha256: "0".repeat(64) });
  if (!found) return;
  const { error, kept } = await loadIn(found.page, NAME, { endpoint: found.hub.url, keep: KEEP });
  assert.match(error ?? "", /^Format: model\.safetensors: its bytes hash to [0-9a-f]{64}, 0{64} wanted/);
  assert.ok(kept.every(({ done }) => done < 1e6), JSON.stringify(kept));
});

test("a file of another length than the hub lists is refused by name and not kept", async (t) => {
  const found = await setUp(t, { listedBytes: 1000 });
  if (!found) return;
  const { error, kept } = await loadIn(found.page, NAME, { endpoint: found.hub.url, keep: KEEP });
  assert.equal(error?.replace(/http:\S+\//, ""), `Format: ${WEIGHTS}: 1000 bytes wanted, the server has ${found.size}`);
  assert.deepEqual(kept, []);
});

test("weights that are something else are refused by name and not kept", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "trice-hub-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "model.gguf"), "<!doctype html><title>Sign in</title>");
  const hub = await serveHub(folder);
  const { page } = await newPage(site);
  t.after(async () => {
    await page.context().close();
    await hub.close();
  });
  await blank(page);
  const { error, kept } = await loadIn(page, `${hub.url}storage/model.gguf`, {});
  assert.match(error ?? "", /^Format: .*model\.gguf/);
  assert.deepEqual(kept, []);
});

test("a model that does not fit the quota is named with both numbers, and runs without being kept", async (t) => {
  const found = await setUp(t);
  if (!found) return;
  const { hub, page } = found;
  const session = await page.context().newCDPSession(page);
  await session.send("Storage.overrideQuotaForOrigin", { origin: new URL(site.url).origin, quotaSize: 1_000_000 });
  const options = { endpoint: hub.url, keep: KEEP };
  const { error, kept } = await loadIn(page, NAME, options);
  // The small files beside the weights have taken some of it.
  assert.match(error ?? "", /^Quota: hf:test\/model: 2\.6 MB to keep, this browser has (0\.9|1\.0) MB free for this page$/);
  assert.deepEqual(kept, []);
  const { tokens } = await loadIn(page, NAME, { endpoint: hub.url, keep: false });
  assert.equal(tokens?.length, 8);
});

test("of two tabs one fetches, the other waits, and both run", async (t) => {
  const found = await setUp(t, { spent: "hang", budget: 1_000_000 });
  if (!found) return;
  const { hub, page } = found;
  const other = await page.context().newPage();
  other.setDefaultTimeout(240_000);
  await blank(other);
  const options = { endpoint: hub.url, keep: KEEP };
  await beginLoad(page, options);
  await untilDone(page, 900_000);
  await beginLoad(other, options);
  await other.waitForFunction(() => window.progress?.stage === "waiting");
  // The first tab is closed: the second goes on from what it left.
  await page.close();
  hub.faults.budget = undefined;
  await other.waitForFunction(() => window.progress?.stage === "compiling");
  assert.equal(await other.evaluate(() => window.ended), null);

  // Both read what is kept at the same time.
  const third = await other.context().newPage();
  third.setDefaultTimeout(240_000);
  await blank(third);
  hub.asked.length = 0;
  const both = await Promise.all([loadIn(other, NAME, options), loadIn(third, NAME, options)]);
  assert.deepEqual(both.map(({ error }) => error), [undefined, undefined]);
  assert.deepEqual(both[0].tokens, both[1].tokens);
  assert.deepEqual(startsOf(hub.asked), []);
});
