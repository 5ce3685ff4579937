// Files dropped anywhere on the page, folders included.

import { byId } from "./dom.js";

/** No model has more files; a dropped home folder would. */
const MAX_FILES = 200;

/** @typedef {import("./engine.js").ModelFile} ModelFile */
/** @typedef {{name: string, files: File[] | ModelFile[]}} Dropped */

/**
 * The files of a drop; those of a dropped folder are named by their path inside it.
 * @param {DataTransfer} transfer
 * @returns {Promise<Dropped>}
 */
async function filesOfDrop(transfer) {
  // Entries and files must be asked for before the first await: the transfer is emptied after the event.
  const files = [...transfer.files];
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry());
  const folder = entries.find((entry) => entry?.isDirectory);
  if (!folder) return { name: files[0]?.name ?? "", files };
  const found = await walk(/** @type {FileSystemDirectoryEntry} */ (folder), "");
  return { name: folder.name, files: found.slice(0, MAX_FILES) };
}

/**
 * @param {FileSystemDirectoryEntry} folder
 * @param {string} path
 * @returns {Promise<ModelFile[]>}
 */
async function walk(folder, path) {
  const files = [];
  for (const entry of await list(folder)) {
    if (files.length >= MAX_FILES) break;
    const name = path + entry.name;
    if (entry.isDirectory) {
      files.push(...(await walk(/** @type {FileSystemDirectoryEntry} */ (entry), `${name}/`)));
    } else {
      files.push({ name, blob: await open(/** @type {FileSystemFileEntry} */ (entry)) });
    }
  }
  return files;
}

/** The reader answers in portions; an empty one is the last. @param {FileSystemDirectoryEntry} folder */
async function list(folder) {
  const reader = folder.createReader();
  /** @type {FileSystemEntry[]} */
  const entries = [];
  while (true) {
    /** @type {FileSystemEntry[]} */
    const portion = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (portion.length === 0 || entries.length > MAX_FILES) return entries;
    entries.push(...portion);
  }
}

/** @param {FileSystemFileEntry} entry @returns {Promise<File>} */
function open(entry) {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

/** Shows where files are dropped, and hands them over. @param {(dropped: Dropped) => void} onDrop */
export function startDrop(onDrop) {
  const cover = byId("drop");
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    cover.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) cover.hidden = true;
  });
  addEventListener("drop", async (event) => {
    if (!event.dataTransfer || !hasFiles(event)) return;
    event.preventDefault();
    cover.hidden = true;
    onDrop(await filesOfDrop(event.dataTransfer));
  });
}
