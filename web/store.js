// What this browser keeps of models from the network: a folder of the origin's private files for each, with every file and its
// journal. Lists and removes them, and guards them between tabs; the bytes are `download.js`'s and `kept.js`'s.

import { EngineError } from "./connection.js";
import { Journal } from "./journal.js";

/**
 * A file that can be read by parts, as the engine wants it.
 * @typedef {object} StoredFile
 * @property {number} size
 * @property {(offset: number, into: Uint8Array) => Promise<number>} read Fills `into` with what stands at `offset`, and tells how many bytes that were.
 */

/** @typedef {import("./ranges.js").RemoteFile} RemoteFile */

/** What stands in a model's folder. @typedef {{name: string, files: RemoteFile[], used: number}} Card `used`: milliseconds since 1970. */

const CARD = "model.json";

/** Whether a model comes from the network, and is kept here then. @param {unknown} source @returns {source is string} */
export function isRemote(source) {
  return typeof source === "string" && /^(hf:|https?:)/.test(source);
}

/** The folder of all models; null where a browser keeps nothing, as in some private windows. @returns {Promise<FileSystemDirectoryHandle | null>} */
async function modelsFolder() {
  try {
    return await (await navigator.storage.getDirectory()).getDirectoryHandle("models", { create: true });
  } catch {
    return null;
  }
}

/** A model's folder is named by a digest, since names hold what file names must not. @param {string} name */
async function idOf(name) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(name));
  return [...new Uint8Array(digest, 0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The folder that keeps a model; null where nothing is kept. @param {string} name */
export async function folderOf(name) {
  const models = await modelsFolder();
  return models && models.getDirectoryHandle(await idOf(name), { create: true });
}

/** @param {FileSystemDirectoryHandle} folder @returns {Promise<Card | null>} */
export async function readCard(folder) {
  try {
    return JSON.parse(await (await (await folder.getFileHandle(CARD)).getFile()).text());
  } catch {
    return null;
  }
}

/** In a worker. Another tab may be writing the same at that moment. @param {FileSystemDirectoryHandle} folder @param {Card} card */
export async function writeCard(folder, card) {
  const file = await folder.getFileHandle(CARD, { create: true });
  const handle = await /** @type {any} */ (file).createSyncAccessHandle().catch(() => null);
  if (!handle) return;
  const bytes = new TextEncoder().encode(JSON.stringify(card));
  handle.write(bytes, { at: 0 });
  handle.truncate(bytes.length);
  handle.close();
}

/**
 * The journal of a file that is here and still the one wanted; null where there is none.
 * @param {FileSystemDirectoryHandle} folder
 * @param {string} name
 * @param {RemoteFile} remote
 */
export async function journalOf(folder, name, remote) {
  const journal = await Journal.read(folder, name);
  const file = journal && (await folder.getFileHandle(name).then((handle) => handle.getFile()).catch(() => null));
  if (!journal || !file) return null;
  const { version, size, url } = journal.facts;
  const isSame = remote.version === null ? url === remote.url : version === remote.version;
  if (!isSame || (remote.size ?? size) !== size) return null;
  journal.believe(file.size);
  return journal;
}

/** Who reads a file has it open for a moment: another who wants it alone tries this often, this many milliseconds apart. */
const MAX_TRIES = 200;
const BETWEEN_TRIES_MS = 5;

/** Does what wants files that nobody has open. @template T @param {() => Promise<T>} act @returns {Promise<T>} */
export async function onceFree(act) {
  for (let n = 1; ; n++) {
    try {
      return await act();
    } catch (error) {
      // The second is Safari's name for it.
      const isTaken = ["NoModificationAllowedError", "InvalidStateError"].includes(/** @type {Error} */ (error).name);
      if (!isTaken || n === MAX_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, BETWEEN_TRIES_MS));
    }
  }
}

/** Removes a model's folder where nothing is kept in it. @param {FileSystemDirectoryHandle} folder */
export async function dropIfEmpty(folder) {
  const { done } = await describe(folder);
  const models = await modelsFolder();
  if (done === 0) await onceFree(async () => models?.removeEntry(folder.name, { recursive: true }));
}

/** Drops a file of a model. @param {FileSystemDirectoryHandle} folder @param {string} name */
export async function dropFile(folder, name) {
  for (const part of [name, `${name}.journal`]) await onceFree(() => folder.removeEntry(part)).catch(() => {});
}

/** What is kept of models, last used first. @returns {Promise<import("./engine.d.ts").KeptModel[]>} */
export async function keptModels() {
  const kept = [];
  for await (const folder of /** @type {any} */ (await modelsFolder())?.values() ?? []) kept.push(await describe(folder));
  return kept.filter(({ done }) => done > 0).sort((a, b) => b.used - a.used);
}

/** By the journals alone: a card that cannot be read costs the name, not the place that a model takes. @param {any} folder */
async function describe(folder) {
  const { name, used } = (await readCard(folder)) ?? { name: folder.name, used: 0 };
  let [done, total] = [0, 0];
  for await (const file of folder.keys()) {
    const journal = file.endsWith(".journal") ? await Journal.read(folder, file.slice(0, -".journal".length)) : null;
    done += journal?.done ?? 0;
    total += journal?.facts.size ?? 0;
  }
  return { id: folder.name, name, done, total, used };
}

/** Removes what is kept of a model. @param {string} id As `keptModels` gives it. */
export async function forgetModel(id) {
  const models = await modelsFolder();
  const lock = await takeLock(id, "exclusive", { ifAvailable: true });
  if (!lock) throw new EngineError("Invalid", "this model is being loaded, perhaps in another tab: it can be deleted after that");
  try {
    await models?.removeEntry(id, { recursive: true });
  } finally {
    lock.release();
  }
}

/**
 * Takes the lock of a model's folder: shared by those who read it, alone for who writes it. Held until released, or until the tab
 * is closed.
 * @param {string} id
 * @param {LockMode} mode
 * @param {{ifAvailable?: boolean}} [options] `ifAvailable`: null where it is taken.
 * @returns {Promise<{release: () => void} | null>}
 */
export function takeLock(id, mode, { ifAvailable = false } = {}) {
  return new Promise((resolve, reject) => {
    const hold = (/** @type {Lock | null} */ lock) => {
      if (!lock) return resolve(null);
      return new Promise((done) => resolve({ release: () => done(undefined) }));
    };
    navigator.locks.request(`trice model ${id}`, { mode, ifAvailable }, hold).catch(reject);
  });
}

/** Refuses what does not fit into what the browser says it grants this page. @param {string} name @param {number} needed Bytes. */
export async function checkQuota(name, needed) {
  const { quota = Infinity, usage = 0 } = await navigator.storage.estimate();
  if (needed > quota - usage) throw tooLittleRoom(name, needed, Math.max(0, quota - usage));
}

/**
 * Makes room for all of a file, so that its download does not end in want of it. What a browser says it grants is not what it grants:
 * Chromium names 10 GiB always.
 * @param {string} name
 * @param {any} data The file's sync access handle.
 * @param {number} size
 */
export function reserve(name, data, size) {
  if (resize(data, size)) return;
  let [least, most] = [data.getSize(), size];
  while (most - least > size / 1000) {
    const middle = Math.round((least + most) / 2);
    if (resize(data, middle)) least = middle;
    else most = middle;
  }
  throw tooLittleRoom(name, size, least);
}

/** Whether a file takes a size: a browser throws where it does not, or leaves it as it is. @param {any} data @param {number} size */
function resize(data, size) {
  try {
    data.truncate(size);
  } catch (error) {
    if (/** @type {Error} */ (error).name !== "QuotaExceededError") throw error;
  }
  return data.getSize() === size;
}

/** @param {string} name @param {number} needed @param {number} free */
function tooLittleRoom(name, needed, free) {
  const [toKeep, left] = [needed, free].map((bytes) => `${(bytes / 1e6).toFixed(1)} MB`);
  return new EngineError("Quota", `${name}: ${toKeep} to keep, this browser has ${left} free for this page`);
}
