// A file that is all in the store: read by parts, each piece checked before its first part is. A damaged piece alone is fetched again.

import { writeAll } from "./download.js";
import { fetchRange, Useless } from "./ranges.js";

/** @import { StoredFile } from "./store.js" */

/** Bytes summed at a time. */
const BLOCK = 1 << 20;

/** @implements {StoredFile} */
export class KeptFile {
  /** What reading it ended in. @type {any} */
  failure = null;
  /** Pieces that are seen to be right, or being looked at. @type {Promise<void>[]} */
  #checked = [];

  /**
   * @param {import("./ranges.js").Library} library
   * @param {import("./ranges.js").RemoteFile} remote
   * @param {import("./journal.js").Journal} journal
   * @param {FileSystemFileHandle} handle
   * @param {(piece: number) => void} onMend Hears of a damaged piece before it is fetched.
   */
  constructor(library, remote, journal, handle, onMend) {
    this.library = library;
    this.remote = remote;
    this.journal = journal;
    this.handle = handle;
    this.onMend = onMend;
  }

  get size() {
    return this.journal.facts.size;
  }

  /** @param {number} offset @param {number} length */
  async read(offset, length) {
    try {
      const { pieceBytes } = this.journal.facts;
      for (let piece = Math.floor(offset / pieceBytes); piece * pieceBytes < offset + length; piece++) {
        await (this.#checked[piece] ??= this.#check(piece));
      }
      return await this.#bytes(offset, offset + length);
    } catch (error) {
      throw (this.failure ??= error);
    }
  }

  /** A file is opened for each part: one that another tab has mended since cannot be read. @param {number} start @param {number} end */
  async #bytes(start, end) {
    const file = await this.handle.getFile();
    return new Uint8Array(await file.slice(start, end).arrayBuffer());
  }

  /** @param {number} piece */
  async #check(piece) {
    if (await this.#isRight(piece)) return;
    const lock = `${this.remote.url}#${piece}`;
    await navigator.locks.request(lock, async () => {
      if (await this.#isRight(piece)) return;
      this.onMend(piece);
      await this.#fetch(piece);
      if (await this.#isRight(piece)) return;
      const { path } = this.remote;
      const place = `piece ${piece + 1} of ${this.journal.nPieces}`;
      throw new Useless("Format", `${path}: ${place} is damaged here, and the server's is another; the file is dropped`);
    });
  }

  /** @param {number} piece */
  async #isRight(piece) {
    const { start, end } = this.journal.range(piece);
    const sum = new this.library.PieceSum();
    for (let at = start; at < end; at += BLOCK) sum.update(await this.#bytes(at, Math.min(end, at + BLOCK)));
    return sum.finish() === this.journal.sums[piece];
  }

  /** @param {number} piece */
  async #fetch(piece) {
    const data = await /** @type {any} */ (this.handle).createSyncAccessHandle();
    try {
      const write = (/** @type {Uint8Array} */ chunk, /** @type {number} */ at) => writeAll(data, chunk, at);
      const { signal } = new AbortController();
      await fetchRange(this.library, this.remote, this.journal.range(piece), { served: this.journal.facts, write, signal });
      data.flush();
    } finally {
      data.close();
    }
  }
}
