// The conversations and prompts of this browser: all in memory, each written to IndexedDB as it changes, and told to other tabs. Where
// the browser keeps nothing they last as long as the page.

import { merge, newConversation } from "./conversation.js";

/** @typedef {import("./conversation.js").Conversation} Conversation */
/** A system prompt of one's own. @typedef {{name: string, text: string}} Preset */

const DATABASE = "trice";
const CONVERSATIONS = "conversations";
const PRESETS = "presets";
/** In the tab's own storage: which conversation is open, by its id. */
const OPEN = "trice.open";
/** Milliseconds between two writes of an answer that streams. */
const SAVE_EVERY = 500;

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @returns {Promise<IDBDatabase>} */
function openDatabase() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore(CONVERSATIONS, { keyPath: "id" });
    request.result.createObjectStore(PRESETS, { keyPath: "name" });
  };
  return settled(request);
}

/** Dispatches "change" when conversations or prompts have changed, "open" when another conversation is shown, and "merge" when another tab has changed the one shown. */
class Library extends EventTarget {
  /** @type {Map<string, Conversation>} */
  #conversations = new Map();
  /** @type {Map<string, Preset>} */
  #presets = new Map();
  /** @type {IDBDatabase | null} */
  #database = null;
  /** @type {BroadcastChannel | null} */
  #tabs = null;
  /** Those that wait to be written, and since when. @type {Map<Conversation, ReturnType<typeof setTimeout>>} */
  #waiting = new Map();
  /** Whether what is written will be there after the page is closed. */
  isKept = true;
  /** The conversation that is shown; among the others once it has a turn. */
  current = newConversation("");

  /** Reads what is kept, and opens what this tab had open. */
  async load() {
    try {
      this.#database = await openDatabase();
      const kept = await this.#all(CONVERSATIONS);
      // What was asked while the database opened.
      for (const early of this.#conversations.values()) this.#write(early);
      for (const conversation of kept) this.#conversations.set(conversation.id, conversation);
      for (const preset of await this.#all(PRESETS)) this.#presets.set(preset.name, preset);
      this.#tabs = new BroadcastChannel(DATABASE);
      this.#tabs.addEventListener("message", ({ data }) => this.#hear(data).catch(() => this.#lose()));
    } catch {
      this.#lose();
    }
    if (this.current.turns.length > 0) rememberOpen(this.current.id);
    else this.open(this.#conversations.get(openId() ?? "") ?? this.blank());
    this.#tell();
  }

  /** Newest first. */
  list() {
    return [...this.#conversations.values()].sort((a, b) => b.changed - a.changed);
  }

  /** @param {Conversation} conversation */
  holds({ id }) {
    return this.#conversations.has(id);
  }

  presets() {
    return [...this.#presets.values()];
  }

  /** A new conversation, under the system prompt of the last one. */
  blank() {
    return newConversation((this.current.turns.length > 0 ? this.current : this.list()[0] ?? this.current).system);
  }

  /** Shows a conversation. @param {Conversation} conversation */
  open(conversation) {
    this.current = conversation;
    rememberOpen(conversation.id);
    this.dispatchEvent(new Event("open"));
  }

  /** Keeps a conversation as it is now. @param {Conversation} conversation */
  save(conversation) {
    conversation.changed = Date.now();
    this.#write(conversation);
    this.#tell();
  }

  /** Keeps an answer that grows, now and then, unless its conversation was deleted. @param {Conversation} conversation */
  saveSoon(conversation) {
    if (this.holds(conversation) && !this.#waiting.has(conversation)) this.#waiting.set(conversation, setTimeout(() => this.#write(conversation), SAVE_EVERY));
  }

  /** Writes what waits, before the page may go. */
  flush() {
    for (const conversation of this.#waiting.keys()) this.#write(conversation);
  }

  /** Takes conversations of a file in, beside those of the same id that differ, and tells how many were new. @param {Conversation[]} conversations */
  take(conversations) {
    const news = conversations.filter(({ id, changed }) => this.#conversations.get(id)?.changed !== changed);
    for (const conversation of news) this.#write(this.holds(conversation) ? { ...conversation, id: newConversation("").id } : conversation);
    this.#tell();
    return news.length;
  }

  /** Has a deleted conversation back where it was. @param {Conversation} conversation */
  restore(conversation) {
    this.#write(conversation);
    this.#tell();
  }

  /** @param {Conversation} conversation */
  remove(conversation) {
    clearTimeout(this.#waiting.get(conversation));
    this.#waiting.delete(conversation);
    this.#conversations.delete(conversation.id);
    this.#store(CONVERSATIONS, (store) => store.delete(conversation.id), conversation.id);
    this.#tell();
  }

  /** @param {Preset} preset */
  savePreset(preset) {
    this.#presets.set(preset.name, preset);
    this.#store(PRESETS, (store) => store.put(preset));
    this.#tell();
  }

  /** @param {Preset} preset */
  removePreset({ name }) {
    this.#presets.delete(name);
    this.#store(PRESETS, (store) => store.delete(name));
    this.#tell();
  }

  /** @param {Conversation} conversation */
  #write(conversation) {
    clearTimeout(this.#waiting.get(conversation));
    this.#waiting.delete(conversation);
    this.#conversations.set(conversation.id, conversation);
    this.#store(CONVERSATIONS, (store) => store.put(conversation), conversation.id);
  }

  /**
   * @param {string} name
   * @param {(store: IDBObjectStore) => void} change
   * @param {string} [id] Of the conversation, for the other tabs.
   */
  #store(name, change, id) {
    if (!this.#database) return;
    try {
      const transaction = this.#database.transaction(name, "readwrite");
      transaction.oncomplete = () => id && this.#tabs?.postMessage(id);
      transaction.onabort = () => this.#lose();
      change(transaction.objectStore(name));
      // A page that goes now takes nothing back.
      transaction.commit();
    } catch {
      this.#lose();
    }
  }

  /** @param {string} name @returns {Promise<any[]>} */
  async #all(name) {
    if (!this.#database) return [];
    return settled(this.#database.transaction(name).objectStore(name).getAll());
  }

  /** Another tab has written a conversation, or deleted it. @param {string} id */
  async #hear(id) {
    if (!this.#database) return;
    const theirs = await settled(this.#database.transaction(CONVERSATIONS).objectStore(CONVERSATIONS).get(id));
    const ours = this.#conversations.get(id);
    if (!theirs) this.#conversations.delete(id);
    else if (!ours) this.#conversations.set(id, theirs);
    else if (merge(ours, theirs)) this.#write(ours);
    this.#tell();
    if (id === this.current.id && theirs) this.dispatchEvent(new Event("merge"));
  }

  #lose() {
    this.isKept = false;
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

function openId() {
  try {
    return sessionStorage.getItem(OPEN);
  } catch {
    return null;
  }
}

/** @param {string} id */
function rememberOpen(id) {
  try {
    sessionStorage.setItem(OPEN, id);
  } catch {
    // Then a reload opens a new conversation.
  }
}

export const library = new Library();
addEventListener("pagehide", () => library.flush());
document.addEventListener("visibilitychange", () => document.hidden && library.flush());
