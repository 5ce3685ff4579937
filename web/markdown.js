// Answers in Markdown, while they stream and after: read by a small wasm module of its own, fetched once there is such an answer. So
// kept conversations are shown before the engine is there, or without it.

import { el } from "./dom.js";
import { build, patch, visible } from "./nodes.js";

/** A text's events; null until the module is there. @type {((text: string) => string[]) | null} */
let events = null;
/** @type {Promise<void> | null} */
let loading = null;

/** Resolves once texts can be read, or cannot: then they are shown as they stand. */
function moduleLoaded() {
  loading ??= loadModule().catch((error) => console.warn(`no Markdown: ${error}`));
  return loading;
}

async function loadModule() {
  const module = await import(new URL("../pkg/markdown.js", import.meta.url).href);
  await module.default({ module_or_path: new URL("../pkg/markdown_bg.wasm", import.meta.url) });
  events = module.events;
}

/** @param {string} text */
function read(text) {
  try {
    return events?.(text) ?? null;
  } catch (error) {
    // A trap leaves the module in an unknown state.
    console.warn(`no Markdown from here on: ${error}`);
    events = null;
    return null;
  }
}

/** A text as it stands, behind one that it continues. */
export class PlainText {
  element = el("div", { class: "text plain" });

  /** @param {string} given */
  constructor(given) {
    this.element.append(el("span", { class: "given" }, visible(given)));
  }

  /** @param {string} text */
  show(text) {
    patch(this.element, 1, [document.createTextNode(visible(text))]);
  }

  /** @param {string} text */
  finish(text) {
    this.show(text);
  }
}

/** A text in Markdown, of which only the last block is made anew as it grows. */
export class Markdown {
  element = el("div", { class: "text prose" });
  #text = "";
  /** Blocks that stay, whatever comes. */
  #nSettled = 0;
  /** Where the text behind them begins. */
  #start = 0;

  constructor() {
    if (!events) moduleLoaded().then(() => this.finish(this.#text));
  }

  /** @param {string} text What `show` was given before, and more. */
  show(text) {
    this.#text = text;
    const found = read(text.slice(this.#start));
    if (!found) return this.#showPlain();
    const { blocks, nSettled, nUnits } = build(found);
    patch(this.element, this.#nSettled, blocks);
    this.#nSettled += nSettled;
    this.#start += nUnits;
  }

  /** Reads the whole text once more: an address may be defined after the link. @param {string} text */
  finish(text) {
    [this.#nSettled, this.#start] = [0, 0];
    this.show(text);
  }

  #showPlain() {
    [this.#nSettled, this.#start] = [0, 0];
    patch(this.element, 0, [el("p", { class: "plain" }, visible(this.#text))]);
  }
}
