// The two places a model can be: one for Chat, one for Classify. Loads into them and tells of every change.

import { EngineError, load } from "./engine.js";
import { mark, unmark } from "./crash.js";
import { RemoteModel } from "./remote.js";
import { settings } from "./settings.js";
import { isRemote } from "./store.js";
import { formatBytes, formatNumber, formatWait, sentence, t } from "./strings.js";

/**
 * @typedef {object} Choice
 * @property {import("./engine.js").ModelSource} source
 * @property {string} [name] What to call it; read again at every use, so that it follows the language.
 * @property {string} [nameKey] The same as a key of strings.js.
 * @property {"chat" | "classify"} [tab] Where it belongs, if that is known before it is read.
 * @property {boolean} [isDemo] A built-in model that can do one thing only.
 * @property {File} [head] A head learnt on it, which gives it labels.
 * @property {number} [contextLength] Tokens of context, where the usual ones are too many.
 * @property {boolean} [isNative] Whatever the program that serves this page has for the tab.
 * @property {boolean} [keep] Whether this browser keeps it, if it comes from the network.
 */

/** @typedef {"empty" | "loading" | "paused" | "ready" | "failed"} Status */

/** Tokens of context that are reserved where nobody asks for another number, and the fewest that are worth a conversation. */
const USUAL_CONTEXT = 4096;
const LEAST_CONTEXT = 256;

/** A place for a model. Dispatches "change". */
export class Slot extends EventTarget {
  /** @type {Status} */
  status = "empty";
  /** @type {import("./engine.js").Model | null} */
  model = null;
  /** @type {Choice | null} */
  choice = null;
  /** @type {any} */
  error = null;
  /** How far loading is; null while the engine starts. @type {import("./engine.js").Progress | null} */
  progress = null;
  /** @type {AbortController | null} */
  #loading = null;

  /** @param {"chat" | "classify"} tab @param {Choice} fallback The built-in model it begins with. */
  constructor(tab, fallback) {
    super();
    this.tab = tab;
    this.fallback = fallback;
  }

  get name() {
    const choice = this.choice ?? this.fallback;
    if (choice.isNative) return this.model?.info.name ?? t("engine_native");
    return choice.nameKey ? t(choice.nameKey) : (choice.name ?? "");
  }

  /** How far loading is, 0 to 1; null while that is unknown. */
  get fraction() {
    if (this.status !== "loading" && this.status !== "paused") return 1;
    return this.progress && this.progress.total > 0 ? this.progress.done / this.progress.total : null;
  }

  /** Whether loading waits for the network: it can be paused then, and goes on from there. */
  get isDownloading() {
    return this.progress?.stage === "downloading";
  }

  /** What goes on, in words and numbers. */
  get words() {
    if (this.status === "ready") return t("stage_ready");
    if (this.status === "failed") return this.smallerContext === null ? sentence(this.error) : t("too_little_memory");
    if (!this.progress) return this.status === "loading" ? t("stage_opening", { name: this.name }) : "";
    const { stage, done, total } = this.progress;
    const isBytes = stage === "reading" || stage === "downloading";
    const [written, of] = [done, total].map((n) => (isBytes ? formatBytes(n) : formatNumber(n)));
    const words = t(`stage_${stage}`, { name: this.name, done: written, total: of });
    return [words, ...this.#pace()].join(" · ");
  }

  /** How fast a download is and how long it will take, or that it rests. */
  #pace() {
    if (this.status === "paused") return [t("paused")];
    const { bytesPerSecond, secondsLeft } = this.progress ?? {};
    if (!bytesPerSecond || secondsLeft === undefined) return [];
    return [t("bytes_per_second", { size: formatBytes(bytesPerSecond) }), t("time_left", { time: formatWait(secondsLeft * 1000) })];
  }

  /** Loads a model in place of the one there is. @param {Choice} choice */
  async use(choice) {
    this.#loading?.abort();
    this.model?.dispose();
    const loading = new AbortController();
    this.#loading = loading;
    this.#set({ status: "loading", model: null, choice, error: null, progress: null });
    if (isRemote(choice.source)) askToKeep();
    try {
      const model = choice.isNative ? await RemoteModel.of(this.tab) : await this.#load(choice, loading.signal);
      loading.signal.throwIfAborted();
      // The program's own demo continues texts, as this page's does.
      if (choice.isNative) choice.isDemo = model.info.name.startsWith("builtin:");
      this.#set({ status: "ready", model });
    } catch (error) {
      if (!loading.signal.aborted) this.fail(error);
    }
  }

  /** Onto this browser's GPU. @param {Choice} choice @param {AbortSignal} signal */
  async #load(choice, signal) {
    if (!("gpu" in navigator)) throw new EngineError("NoWebGpu", t("no_webgpu"));
    const { source, contextLength } = choice;
    if (typeof source === "string") mark({ source, name: this.name, contextLength });
    try {
      const model = await load(source, {
        signal,
        contextLength,
        endpoint: settings.endpoint || undefined,
        keep: choice.keep,
        onProgress: (progress) => this.#set({ progress }),
        onLost: (back) => this.#wait(back, signal),
      });
      await addHead(model, choice, signal);
      return model;
    } finally {
      unmark();
    }
  }

  /** Tokens of context to try where the last ones were too many for the device; null where fewer would not help. */
  get smallerContext() {
    const { name = "", message = "" } = this.error ?? {};
    const isForRoom = name === "Limit" ? /context/.test(message) : name === "Gpu" && /memory/i.test(message);
    const fewer = (this.choice?.contextLength ?? USUAL_CONTEXT) / 2;
    return this.status === "failed" && this.tab === "chat" && isForRoom && fewer >= LEAST_CONTEXT ? fewer : null;
  }

  /** Another model to begin with: what there is goes, and is loaded once it is wanted. @param {Choice} fallback */
  beginWith(fallback) {
    this.#loading?.abort();
    this.model?.dispose();
    this.fallback = fallback;
    this.#set({ status: "empty", model: null, choice: null, error: null, progress: null });
  }

  /** The GPU was lost: the model loads again by itself, and what was asked of it goes on. @param {Promise<void>} back @param {AbortSignal} signal */
  async #wait(back, signal) {
    this.#set({ status: "loading", progress: null });
    try {
      await back;
      if (!signal.aborted) this.#set({ status: "ready" });
    } catch (error) {
      if (!signal.aborted) this.fail(error);
    }
  }

  /** Rests a download; what is here is kept. */
  pause() {
    this.#loading?.abort();
    this.#set({ status: "paused" });
  }

  /** Takes a loaded model over from the other slot. @param {Slot} other */
  adopt(other) {
    this.#loading?.abort();
    this.model?.dispose();
    const { model, choice } = other;
    other.#set({ status: "empty", model: null, choice: null });
    this.#set({ status: "ready", model, choice, error: null });
  }

  /** Notes that the model, or its loading, is lost. @param {any} error */
  fail(error) {
    this.model?.dispose();
    this.#set({ status: "failed", model: null, error });
  }

  /** Loads what was last wanted again; a download goes on from what is here. @param {Partial<Choice>} [changes] */
  retry(changes) {
    const choice = this.choice ?? this.fallback;
    // The same choice stays the same object: by that others know that the model is.
    return this.use(changes ? { ...choice, ...changes } : choice);
  }

  /** Resolves to the model once it is there. @param {AbortSignal} [signal] @returns {Promise<import("./engine.js").Model>} */
  ready(signal) {
    return new Promise((resolve, reject) => {
      const settle = () => {
        if (signal?.aborted) reject(signal.reason);
        else if (this.status === "ready" && this.model) resolve(this.model);
        else if (this.status === "failed") reject(this.error);
        else return;
        this.removeEventListener("change", settle);
      };
      this.addEventListener("change", settle);
      signal?.addEventListener("abort", settle);
      settle();
    });
  }

  /** @param {Partial<Pick<Slot, "status" | "model" | "choice" | "error" | "progress">>} fields */
  #set(fields) {
    Object.assign(this, fields);
    this.dispatchEvent(new Event("change"));
  }
}

/** Asks the browser not to clear what is kept where its disk is full; it decides, or asks the user. */
function askToKeep() {
  navigator.storage?.persist?.().catch(() => {});
}

/** A model that does not get the head it is to have is of no use. @param {import("./engine.js").Model} model @param {Choice} choice @param {AbortSignal} signal */
async function addHead(model, { head }, signal) {
  if (!head) return;
  try {
    await model.loadHead(head);
    signal.throwIfAborted();
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** @type {Choice} */
export const STORIES = { source: "builtin:stories", nameKey: "stories_name", tab: "chat", isDemo: true };
/** @type {Choice} */
export const SENTIMENT = { source: "builtin:sentiment", nameKey: "sentiment_name", tab: "classify", isDemo: true };
/** @type {Choice} */
export const INTENT = { source: "builtin:intent", nameKey: "intent_name", tab: "classify", isDemo: true };
/** For labels of one's own. @type {Choice} */
export const EMBED = { source: "builtin:embed", nameKey: "embed_name", tab: "classify" };

/** What each tab begins with. */
export const DEFAULTS = { chat: STORIES, classify: SENTIMENT };

export const slots = { chat: new Slot("chat", DEFAULTS.chat), classify: new Slot("classify", DEFAULTS.classify) };
