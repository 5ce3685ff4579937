// Loads a model of the network through the store, in the worker: what is kept is read, the rest is fetched, kept and read meanwhile.

import { Download } from "./download.js";
import { EngineError } from "./connection.js";
import { Journal } from "./journal.js";
import { KeptFile } from "./kept.js";
import { askAbout, Useless } from "./ranges.js";
import { checkQuota, dropFile, dropIfEmpty, folderOf, journalOf, readCard, reserve, takeLock, writeCard } from "./store.js";

/** @typedef {import("./ranges.js").RemoteFile} RemoteFile */
/** @typedef {{pieceBytes: number, ranges: number}} Keeping */

/** @type {Keeping} */
const DEFAULT = { pieceBytes: 32 << 20, ranges: 4 };

/** A file that changes on its server while it is fetched is begun anew this many times. */
const MAX_LOADS = 3;

/** Milliseconds between two tellings of progress, and over which speed is measured. */
const TELL_MS = 100;
const SPEED_MS = 5000;

/**
 * `engine.load` of a name of the network.
 * @param {import("./ranges.js").Library} library
 * @param {any} engine
 * @param {string} name
 * @param {object} options The engine's.
 * @param {Partial<Keeping>} keeping
 * @param {(progress: import("./engine.d.ts").Progress) => void} emit
 */
export async function loadKept(library, engine, name, options, keeping, emit) {
  for (let n = 1; ; n++) {
    const folder = await folderOf(name);
    if (!folder) return engine.load(name, options, emit);
    const load = new Load(library, name, folder, { ...DEFAULT, ...keeping }, emit);
    try {
      await load.open(await filesOf(library, name, folder, options));
      const info = await engine.load({ name, files: load.files() }, options, load.forward).catch(load.explain);
      await load.fetched;
      load.close();
      return info;
    } catch (error) {
      await load.fail(error);
      const isOver = !(error instanceof Useless) || error.name !== "StartOver" || n === MAX_LOADS;
      if (isOver) throw error;
    }
  }
}

/** The files that make a model: by the hub, or where that cannot be asked by what it said last. @param {any} library @param {string} name @param {FileSystemDirectoryHandle} folder @param {object} options @returns {Promise<RemoteFile[]>} */
async function filesOf(library, name, folder, options) {
  try {
    return await library.remoteFiles(name, options);
  } catch (error) {
    const card = await readCard(folder);
    if (/** @type {Error} */ (error).name === "Io" && card) return card.files;
    throw error;
  }
}

/** One try: the files, those being fetched among them, and the lock on them. */
class Load {
  /** @type {(Download | KeptFile)[]} */
  #files = [];
  /** @type {RemoteFile[]} */
  #remotes = [];
  /** @type {{release: () => void} | null} */
  #lock = null;
  /** Resolves once everything is here and checked. @type {Promise<void>} */
  fetched = Promise.resolve();
  #isFetched = true;
  /** What fetching ended in. @type {any} */
  #failure = null;
  /** The next telling of progress. @type {ReturnType<typeof setTimeout> | undefined} */
  #telling;
  /** When how many bytes were here. @type {{time: number, done: number}[]} */
  #samples = [];

  /**
   * @param {import("./ranges.js").Library} library
   * @param {string} name
   * @param {FileSystemDirectoryHandle} folder
   * @param {Keeping} keeping
   * @param {(progress: import("./engine.d.ts").Progress) => void} emit
   */
  constructor(library, name, folder, keeping, emit) {
    this.library = library;
    this.name = name;
    this.folder = folder;
    this.keeping = keeping;
    this.emit = emit;
  }

  /** Throws what the store failed in, which the engine tells in other words; files that the engine finds wrong are of no use. @param {any} error @returns {never} */
  explain = (error) => {
    const failure = this.#failure ?? this.#files.find((file) => file.failure)?.failure;
    if (failure || error.name !== "Format") throw failure ?? error;
    throw new Useless("Format", error.message);
  };

  /** The engine's progress; while files are being fetched, theirs is told instead. @param {import("./engine.d.ts").Progress} progress */
  forward = (progress) => {
    if (this.#isFetched) this.emit(progress);
  };

  files() {
    return this.#files.map((file, i) => ({ name: this.#remotes[i].path, file }));
  }

  /** Opens the files and begins to fetch what is missing. @param {RemoteFile[]} remotes */
  async open(remotes) {
    this.#remotes = remotes;
    let journals = await this.#journals();
    if (!journals.every((journal) => journal?.isWhole)) {
      await this.#lockAlone();
      // Another tab may have fetched it meanwhile.
      journals = await this.#journals();
    }
    if (journals.every((journal) => journal?.isWhole)) {
      this.#lock?.release();
      this.#lock = await takeLock(this.folder.name, "shared");
    }
    const prepared = await Promise.all(remotes.map((remote, i) => journals[i] ?? this.#begin(remote)));
    const missing = prepared.reduce((sum, { facts, done }) => (done === 0 ? sum + facts.size : sum), 0);
    if (missing > 0) await checkQuota(this.name, missing);
    await writeCard(this.folder, { name: this.name, files: remotes.map(({ token, ...file }) => file), used: Date.now() });
    for (const [i, journal] of prepared.entries()) this.#files.push(await this.#file(i, journal));
    const downloads = this.#files.filter((file) => file instanceof Download);
    if (downloads.length === 0) return;
    this.#isFetched = false;
    this.fetched = this.#fetch(downloads);
    // Whoever awaits it hears of a failure; until then the engine may still be reading.
    this.fetched.catch(() => {});
  }

  close() {
    this.#stop();
    for (const file of this.#files) if (file instanceof Download) file.close();
    this.#lock?.release();
    this.#lock = null;
  }

  /** Ends it: what was fetched stays, unless it is of no use. @param {unknown} error */
  async fail(error) {
    this.#stop();
    for (const file of this.#files) if (file instanceof Download) file.close();
    if (error instanceof Useless) await this.#drop();
    if (this.#lock) await dropIfEmpty(this.folder).catch(() => {});
    this.close();
  }

  #stop() {
    clearTimeout(this.#telling);
    for (const file of this.#files) if (file instanceof Download) file.stop(new EngineError("Cancelled", "cancelled"));
  }

  /** Drops the files that are of no use; where the engine says so, all. */
  async #drop() {
    const isUseless = (/** @type {Download | KeptFile} */ file) => file.failure instanceof Useless;
    const all = !this.#files.some(isUseless);
    for (const [i, file] of this.#files.entries()) if (all || isUseless(file)) await dropFile(this.folder, String(i));
  }

  #journals() {
    return Promise.all(this.#remotes.map((remote, i) => journalOf(this.folder, String(i), remote)));
  }

  async #lockAlone() {
    this.#lock = await takeLock(this.folder.name, "exclusive", { ifAvailable: true });
    if (!this.#lock) this.emit({ stage: "waiting", done: 0, total: 0 });
    this.#lock ??= await takeLock(this.folder.name, "exclusive");
    // Who had it before may have removed the folder.
    this.folder = (await folderOf(this.name)) ?? this.folder;
  }

  /** @param {RemoteFile} remote */
  async #begin(remote) {
    // Of an empty file no byte can be asked for.
    const served = remote.size === 0 ? { size: 0, etag: null, ranges: true } : await askAbout(this.library, remote);
    if (remote.size !== null && remote.size !== served.size) {
      throw new EngineError("Format", `${remote.url}: ${remote.size} bytes wanted, the server has ${served.size}`);
    }
    return new Journal({ ...served, url: remote.url, version: remote.version, pieceBytes: this.keeping.pieceBytes });
  }

  /** @param {number} i @param {Journal} journal */
  async #file(i, journal) {
    const [name, remote] = [String(i), this.#remotes[i]];
    const handle = await this.folder.getFileHandle(name, { create: true });
    if (journal.isWhole) {
      const onMend = (/** @type {number} */ piece) => this.emit({ stage: "mending", done: piece + 1, total: journal.nPieces });
      return new KeptFile(this.library, remote, journal, handle, onMend);
    }
    const data = await /** @type {any} */ (handle).createSyncAccessHandle();
    try {
      if (journal.done === 0) data.truncate(0);
      reserve(this.name, data, journal.facts.size);
      await journal.open(this.folder, name);
    } catch (error) {
      data.close();
      throw error;
    }
    return new Download(this.library, remote, journal, data, { ranges: this.keeping.ranges, onBytes: () => this.#tellSoon() });
  }

  /** @param {Download[]} downloads */
  async #fetch(downloads) {
    this.#tell();
    try {
      for (const download of downloads) await download.run();
    } catch (error) {
      this.#failure = error;
      this.#stop();
      throw error;
    }
    clearTimeout(this.#telling);
    this.#tell();
    this.#isFetched = true;
  }

  #tellSoon() {
    this.#telling ??= setTimeout(() => this.#tell(), TELL_MS);
  }

  #tell() {
    this.#telling = undefined;
    const time = performance.now();
    const journals = this.#files.map((file) => file.journal);
    const sum = (/** @type {(journal: Journal) => number} */ of) => journals.reduce((sum, journal) => sum + of(journal), 0);
    const [done, total] = [sum((journal) => journal.done), sum((journal) => journal.facts.size)];
    this.#samples.push({ time, done });
    while (this.#samples[0].time < time - SPEED_MS) this.#samples.shift();
    const [first] = this.#samples;
    const bytesPerSecond = time > first.time ? ((done - first.done) / (time - first.time)) * 1000 : 0;
    const secondsLeft = bytesPerSecond > 0 ? (total - done) / bytesPerSecond : undefined;
    this.emit({ stage: "downloading", done, total, bytesPerSecond, secondsLeft });
  }
}
