// From the events of Markdown to elements, out of an allow-list. Whatever a model writes comes in as text, and no address is asked for
// anything before a person follows it.

import { copyButton, el } from "./dom.js";
import { t } from "./strings.js";

/**
 * An element under way: `inner` takes what comes in it.
 * @typedef {{outer: HTMLElement, inner: HTMLElement, end?: () => void}} Making
 */

/** @param {string} tag @param {string} [kind] @returns {Making} */
function plain(tag, kind) {
  const element = el(tag, { class: kind || undefined });
  return { outer: element, inner: element };
}

/** A code block under a line with its language and a button. @param {string} language @returns {Making} */
function codeBlock(language) {
  const code = el("code");
  const copy = copyButton(t("copy_code"), () => code.textContent);
  const head = el("div", { class: "code-head" }, el("span", {}, language), copy);
  const label = language || t("code");
  return { outer: el("div", { class: "code" }, head, el("pre", { tabindex: 0, role: "group", "aria-label": label }, code)), inner: code };
}

/** What is wider than the page is moved by itself. @returns {Making} */
function table() {
  const inner = el("table");
  return { outer: el("div", { class: "wide", tabindex: 0, role: "group", "aria-label": t("table") }, inner), inner };
}

/** A link of a kind that people follow knowingly, with where it leads to; of any other its words alone. @param {string} address @returns {Making} */
function link(address) {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (!url || !["http:", "https:", "mailto:"].includes(url.protocol)) return plain("span");
  const element = el("a", { href: url.href, rel: "noopener noreferrer", target: "_blank", title: url.href });
  const place = url.host || url.pathname;
  const end = () => {
    if (element.textContent === "") element.append(place);
    else if (!element.textContent.includes(place)) element.append(" ", el("span", { class: "host" }, place));
  };
  return { outer: element, inner: element, end };
}

/** Every element that an answer can have, by the name of its event. @type {Record<string, (value: string) => Making>} */
const ELEMENTS = {
  // The page's own heading is the first.
  h1: () => plain("h2"),
  h2: () => plain("h3"),
  h3: () => plain("h4"),
  h4: () => plain("h5"),
  h5: () => plain("h6"),
  h6: () => plain("h6"),
  p: () => plain("p"),
  ul: () => plain("ul"),
  ol: (first) => {
    const list = el("ol", { start: first === "1" ? undefined : Number(first) });
    return { outer: list, inner: list };
  },
  li: () => plain("li"),
  blockquote: () => plain("blockquote"),
  hr: () => plain("hr"),
  pre: codeBlock,
  code: () => plain("code"),
  em: () => plain("em"),
  strong: () => plain("strong"),
  del: () => plain("del"),
  a: link,
  table,
  thead: () => plain("thead"),
  tbody: () => plain("tbody"),
  tr: () => plain("tr"),
  th: (alignment) => plain("th", alignment),
  td: (alignment) => plain("td", alignment),
};

/** Marks that turn the direction of what follows: a text must not look other than it is. */
const TURNS = /[\u202a-\u202e\u2066-\u2069]/g;

/** A text whose hidden marks can be seen. @param {string} text */
export function visible(text) {
  return text.replace(TURNS, (mark) => `[U+${mark.charCodeAt(0).toString(16).toUpperCase()}]`);
}

/**
 * The blocks of a list of events; of those, how many are settled, and how many units of the text they take.
 * @param {string[]} events
 */
export function build(events) {
  /** @type {Node[]} */
  const blocks = [];
  /** @type {Making[]} */
  const open = [];
  let [nSettled, nUnits] = [0, 0];
  /** @param {Node} node */
  const place = (node) => {
    const making = open.at(-1);
    if (making) making.inner.append(node);
    else blocks.push(node);
  };
  for (const event of events) {
    const rest = event.slice(1);
    if (event[0] === "+") {
      const [name, value] = split(rest);
      open.push(ELEMENTS[name](value));
    } else if (event[0] === "-") {
      const making = /** @type {Making} */ (open.pop());
      making.end?.();
      place(making.outer);
    } else if (event[0] === ".") {
      place(document.createTextNode(visible(rest)));
    } else {
      [nSettled, nUnits] = [blocks.length, Number(rest)];
    }
  }
  return { blocks, nSettled, nUnits };
}

/** `NAME VALUE`. @param {string} words */
function split(words) {
  const space = words.indexOf(" ");
  return space < 0 ? [words, ""] : [words.slice(0, space), words.slice(space + 1)];
}

/**
 * Makes the children of `parent` from the first `nKept` on equal to `nodes`. Only what differs is touched, so a selection, a focus and
 * how far a block was moved sideways stay while text streams.
 * @param {Node} parent
 * @param {number} nKept
 * @param {Node[]} nodes
 */
export function patch(parent, nKept, nodes) {
  nodes.forEach((node, i) => {
    const old = parent.childNodes[nKept + i];
    if (old) patchNode(old, node);
    else parent.appendChild(node);
  });
  while (parent.childNodes.length > nKept + nodes.length) parent.lastChild?.remove();
}

/** @param {ChildNode} old @param {Node} node */
function patchNode(old, node) {
  if (old.isEqualNode(node)) return;
  if (old instanceof Text && node instanceof Text) {
    if (node.data.startsWith(old.data)) old.appendData(node.data.slice(old.length));
    else old.data = node.data;
  } else if (old.cloneNode().isEqualNode(node.cloneNode())) {
    patch(old, 0, [...node.childNodes]);
  } else {
    old.replaceWith(node);
  }
}
