// One file on its way into the store: several pieces at once, all of it hashed in order as it comes. What is hashed can be read.

import { EngineError } from "./connection.js";
import { fetchRange, fetchWhole, Useless } from "./ranges.js";

/** @import { StoredFile } from "./store.js" */

/** Bytes hashed at a time, and in one turn of the event loop: chunks that came meanwhile wait no longer than that. */
const BLOCK = 1 << 20;
const BLOCKS_PER_TURN = 4;

/** @implements {StoredFile} */
export class Download {
  /** What ended it early. @type {any} */
  failure = null;
  /** Bytes that were hashed. */
  #hashed = 0;
  /** Bytes that may be read: of a piece that an earlier visit hashed, none before it is seen to be the same. */
  #readable = 0;
  #stop = new AbortController();
  /** Those who wait for anything to change. @type {(() => void)[]} */
  #waiting = [];
  /** Pieces on their way. @type {Record<number, Promise<void>>} */
  #fetching = {};
  #block = new Uint8Array(BLOCK);

  /**
   * @param {import("./ranges.js").Library} library
   * @param {import("./ranges.js").RemoteFile} remote
   * @param {import("./journal.js").Journal} journal Open for writing.
   * @param {any} data The file's sync access handle.
   * @param {{ranges: number, onBytes: () => void}} options `ranges`: how many are fetched at once.
   */
  constructor(library, remote, journal, data, { ranges, onBytes }) {
    this.library = library;
    this.remote = remote;
    this.journal = journal;
    this.data = data;
    this.ranges = ranges;
    this.onBytes = onBytes;
  }

  get size() {
    return this.journal.facts.size;
  }

  /** Fills `into` with what stands at `offset`, once that is here and hashed, and tells how many bytes that were. @param {number} offset @param {Uint8Array} into @returns {Promise<number>} */
  async read(offset, into) {
    while (this.#readable < offset + into.length) {
      if (this.failure) throw this.failure;
      await this.#change();
    }
    return this.data.read(into, { at: offset });
  }

  /** Fetches what is missing and checks all of it. */
  async run() {
    try {
      const fetched = this.journal.facts.ranges ? this.#fetchPieces() : this.#fetchAll();
      await Promise.all([fetched, this.#hash()]);
    } catch (error) {
      this.stop(error);
      throw this.failure;
    }
  }

  /** Ends it; what is here stays. @param {any} reason */
  stop(reason) {
    this.failure ??= reason;
    this.#stop.abort();
    this.#tell();
  }

  close() {
    this.data.close();
    this.journal.close();
  }

  async #fetchPieces() {
    let next = 0;
    const inTurn = async () => {
      while (next < this.journal.nPieces) await this.#fetchPiece(next++);
    };
    await Promise.all(Array.from({ length: this.ranges }, inTurn));
  }

  /** @param {number} piece @returns {Promise<void>} */
  #fetchPiece(piece) {
    const { start, end } = this.journal.range(piece);
    const fetched = () => fetchRange(this.library, this.remote, { start: start + this.journal.have[piece], end }, this.#receiver());
    return (this.#fetching[piece] ??= fetched().finally(() => delete this.#fetching[piece]));
  }

  /** A server that sends no parts begins at the first byte always. */
  #fetchAll() {
    this.journal.have.forEach((_, piece) => this.journal.noteHave(piece, 0));
    return fetchWhole(this.library, this.remote, this.#receiver());
  }

  #receiver() {
    const write = (/** @type {Uint8Array} */ chunk, /** @type {number} */ at) => this.#take(chunk, at);
    return { served: this.journal.facts, write, signal: this.#stop.signal };
  }

  /** @param {Uint8Array} chunk @param {number} at */
  #take(chunk, at) {
    if (this.failure) throw this.failure;
    writeAll(this.data, chunk, at);
    for (let from = at; from < at + chunk.length; ) {
      const piece = Math.floor(from / this.journal.facts.pieceBytes);
      const { start, end } = this.journal.range(piece);
      from = Math.min(end, at + chunk.length);
      this.journal.noteHave(piece, from - start);
    }
    this.onBytes();
    this.#tell();
  }

  /** Walks over the file from its first byte as it comes. */
  async #hash() {
    let digest = new this.library.FileDigest();
    for (let piece = 0; piece < this.journal.nPieces; piece++) digest = await this.#checkPiece(piece, digest);
    this.#compare(digest.finish());
    this.journal.noteWhole();
  }

  /** The digest with a piece behind it; a piece damaged since an earlier visit, and it alone, comes again first. @param {number} piece @param {any} digest @returns {Promise<any>} */
  async #checkPiece(piece, digest) {
    const noted = this.journal.sums[piece];
    const before = digest.copy();
    const sum = await this.#hashPiece(piece, digest);
    if (noted !== null && noted !== sum) {
      digest.free();
      this.#hashed = this.journal.range(piece).start;
      this.journal.noteHave(piece, 0);
      await this.#fetchPiece(piece);
      return this.#checkPiece(piece, before);
    }
    before.free();
    this.data.flush();
    if (noted === null) this.journal.noteSum(piece, sum);
    this.#readable = this.#hashed;
    this.#tell();
    return digest;
  }

  /** @param {number} piece @param {any} digest */
  async #hashPiece(piece, digest) {
    const { start, end } = this.journal.range(piece);
    const isNew = this.journal.sums[piece] === null;
    const sum = new this.library.PieceSum();
    for (let blocks = 1; this.#hashed < end; blocks++) {
      if (this.failure) throw this.failure;
      const n = Math.min(BLOCK, start + this.journal.have[piece] - this.#hashed);
      if (n === 0) {
        await this.#change();
        continue;
      }
      const block = this.#block.subarray(0, n);
      this.data.read(block, { at: this.#hashed });
      digest.update(block);
      sum.update(block);
      this.#hashed += n;
      if (isNew) {
        this.#readable = this.#hashed;
        this.#tell();
      }
      if (blocks % BLOCKS_PER_TURN === 0) await new Promise((resolve) => setTimeout(resolve));
    }
    return sum.finish();
  }

  /** @param {string} found */
  #compare(found) {
    const { sha256, path } = this.remote;
    if (!sha256 || found === sha256.toLowerCase()) return;
    throw new Useless("Format", `${path}: its bytes hash to ${found}, ${sha256} wanted; the download is dropped`);
  }

  /** Until something changed. @returns {Promise<void>} */
  #change() {
    return new Promise((resolve) => this.#waiting.push(() => resolve()));
  }

  #tell() {
    for (const go of this.#waiting.splice(0)) go();
  }
}

/** Writes all of it; where the quota is used up a browser throws, or says that it wrote any other number. @param {any} data @param {Uint8Array} bytes @param {number} at */
export function writeAll(data, bytes, at) {
  let written = 0;
  try {
    written = data.write(bytes, { at });
  } catch (error) {
    if (/** @type {Error} */ (error).name !== "QuotaExceededError") throw error;
  }
  if (written !== bytes.length) throw new EngineError("Quota", `${bytes.length} bytes to write at ${at}, and this browser has no more room for this page`);
}
