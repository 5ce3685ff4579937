// How far a kept file is: lines appended to a file beside it, so that little is lost wherever a tab is closed.
//   {"url":…,"size":…,…}   what the file is
//   have PIECE BYTES       so many bytes of a piece are here, from its beginning
//   sum PIECE HEX          a piece is all here, and this is what its bytes sum to
//   whole                  every piece is here, and the file was checked

/**
 * @typedef {object} Facts
 * @property {string} url
 * @property {number} size
 * @property {number} pieceBytes
 * @property {string | null} version By the hub's listing.
 * @property {string | null} etag By the server that has the file.
 * @property {boolean} ranges Whether that server sends parts.
 */

/** A piece's progress is noted this many times over a file, but at least every so many bytes. */
const NOTES = 2048;
const MAX_NOTE_BYTES = 1 << 20;

export class Journal {
  isWhole = false;
  /** Bytes of each piece that are here. @type {number[]} */
  have;
  /** What each whole piece sums to. @type {(string | null)[]} */
  sums;
  /** @type {any} */
  #handle = null;
  /** Bytes of its lines, those cut off left out. */
  #end = 0;
  /** What the lines say of `have`. @type {number[]} */
  #noted;

  /** @param {Facts} facts */
  constructor(facts) {
    this.facts = facts;
    const n = Math.ceil(facts.size / facts.pieceBytes);
    this.have = new Array(n).fill(0);
    this.#noted = new Array(n).fill(0);
    this.sums = new Array(n).fill(null);
  }

  /** What was noted of a file; null where that is nothing one can read. @param {FileSystemDirectoryHandle} folder @param {string} name */
  static async read(folder, name) {
    try {
      const text = await (await (await folder.getFileHandle(`${name}.journal`)).getFile()).text();
      // What follows the last line break was cut off.
      const [facts, ...lines] = text.slice(0, text.lastIndexOf("\n") + 1).split("\n");
      const journal = new Journal(JSON.parse(facts));
      for (const line of lines) journal.#apply(line);
      journal.#end = new TextEncoder().encode([facts, ...lines].join("\n")).length;
      return journal;
    } catch {
      return null;
    }
  }

  /** Takes it for writing, behind what it has. @param {FileSystemDirectoryHandle} folder @param {string} name */
  async open(folder, name) {
    const file = await folder.getFileHandle(`${name}.journal`, { create: true });
    this.#handle = await /** @type {any} */ (file).createSyncAccessHandle();
    this.#handle.truncate(this.#end);
    if (this.#end === 0) this.#append(JSON.stringify(this.facts));
  }

  close() {
    this.#handle?.close();
    this.#handle = null;
  }

  get nPieces() {
    return this.have.length;
  }

  /** Bytes that are here. */
  get done() {
    return this.have.reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Where a piece lies in the file. @param {number} piece */
  range(piece) {
    const { size, pieceBytes } = this.facts;
    return { start: piece * pieceBytes, end: Math.min(size, (piece + 1) * pieceBytes) };
  }

  /** What the file lacks is not here, whatever the lines say. @param {number} fileBytes */
  believe(fileBytes) {
    this.have.forEach((bytes, piece) => {
      const { start } = this.range(piece);
      if (start + bytes <= fileBytes) return;
      this.have[piece] = Math.max(0, fileBytes - start);
      this.sums[piece] = null;
      this.isWhole = false;
    });
  }

  /** @param {number} piece @param {number} bytes */
  noteHave(piece, bytes) {
    const { start, end } = this.range(piece);
    const step = Math.min(MAX_NOTE_BYTES, Math.ceil(this.facts.size / NOTES));
    this.have[piece] = bytes;
    if (bytes === 0 || bytes === end - start || bytes - this.#noted[piece] >= step) this.#note(`have ${piece} ${bytes}`);
  }

  /** @param {number} piece @param {string} sum */
  noteSum(piece, sum) {
    this.#note(`sum ${piece} ${sum}`);
  }

  noteWhole() {
    this.#note("whole");
    this.#handle.flush();
  }

  /** @param {string} line */
  #note(line) {
    this.#apply(line);
    this.#append(line);
  }

  /** @param {string} line */
  #apply(line) {
    const [word, place, value] = line.split(" ");
    const piece = Number(place);
    if (word === "whole") this.isWhole = true;
    else if (!(piece < this.nPieces)) return;
    else if (word === "sum") this.sums[piece] = value;
    else if (word === "have") {
      this.have[piece] = this.#noted[piece] = Number(value);
      this.sums[piece] = null;
    }
  }

  /** @param {string} line */
  #append(line) {
    const bytes = new TextEncoder().encode(`${line}\n`);
    this.#handle.write(bytes, { at: this.#end });
    this.#end += bytes.length;
  }
}
