// A file that is all in the store: read by parts, each piece checked before its first part is. A damaged piece alone is fetched again.

import { writeAll } from "./download.js";
import { fetchRange, Useless } from "./ranges.js";
import { onceFree } from "./store.js";

/** @import { StoredFile } from "./store.js" */

/** Bytes summed at a time. */
const BLOCK = 2 << 20;

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

  /** Fills `into` with what stands at `offset`, and tells how many bytes that were. @param {number} offset @param {Uint8Array} into */
  async read(offset, into) {
    try {
      const { pieceBytes } = this.journal.facts;
      for (let piece = Math.floor(offset / pieceBytes); piece * pieceBytes < offset + into.length; piece++) {
        await (this.#checked[piece] ??= this.#check(piece));
      }
      return await this.#fill(offset, into);
    } catch (error) {
      throw (this.failure ??= error);
    }
  }

  /**
   * The file is opened for each part, so that who mends it gets it in between. Where it cannot be opened, as while it is mended, a Blob
   * gives the same, more slowly; a new one each time, since one that was taken before a mend cannot be read.
   * @param {number} offset
   * @param {Uint8Array} into
   * @returns {Promise<number>}
   */
  async #fill(offset, into) {
    const data = await this.#open({ mode: "read-only" }).catch(() => null);
    if (data) {
      try {
        return data.read(into, { at: offset });
      } finally {
        data.close();
      }
    }
    const file = await this.handle.getFile();
    const bytes = await file.slice(offset, offset + into.length).arrayBuffer();
    into.set(new Uint8Array(bytes));
    return bytes.byteLength;
  }

  /** @param {{mode?: "read-only"}} [options] Browsers that do not know the mode let one read at a time. @returns {Promise<any>} */
  #open(options) {
    return /** @type {any} */ (this.handle).createSyncAccessHandle(options);
  }

  /** @param {number} piece */
  async #check(piece) {
    if (await this.#isRight(piece)) return;
    // One mends a file at a time: it is open for all of that.
    await navigator.locks.request(this.remote.url, async () => {
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
    const memory = new Uint8Array(BLOCK);
    for (let at = start; at < end; at += BLOCK) {
      const block = memory.subarray(0, end - at);
      sum.update(block.subarray(0, await this.#fill(at, block)));
    }
    return sum.finish() === this.journal.sums[piece];
  }

  /** @param {number} piece */
  async #fetch(piece) {
    const data = await onceFree(() => this.#open());
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
