// Why a text gets a label: its words shaded by what they do for it, with a legend, and the strongest in numbers.

import { el } from "./dom.js";
import { labelWords } from "./labels.js";
import { formatSignedPercent, t } from "./strings.js";

/** Words named below the text. */
const MAX_NAMED = 5;
/** What a word must change of the score to be named. */
const MIN_NAMED = 0.001;

/** @import { Explanation, WordScore } from "./engine.js" */

/** @param {string} text @param {Explanation} explanation @returns {Node[]} */
export function shading(text, { label, words }) {
  const name = labelWords(label);
  const legend = el(
    "p",
    { class: "note legend", id: "why-legend" },
    t("why", { label: name }),
    el("span", { class: "for" }, t("speaks_for")),
    el("span", { class: "against" }, t("speaks_against")),
  );
  const group = { class: "shaded", role: "group", "aria-labelledby": "why-legend", tabindex: 0 };
  return [legend, el("div", group, ...shaded(text, words)), el("p", { class: "note" }, strongest(name, words))];
}

/** The text with its words as spans: the strongest has strength 1. @param {string} text @param {WordScore[]} words */
function shaded(text, words) {
  const largest = Math.max(...words.map(({ score }) => Math.abs(score)), Number.MIN_VALUE);
  /** @type {(Node | string)[]} */
  const parts = [];
  let at = 0;
  for (const { start, end, score } of words) {
    const span = el("span", { class: score < 0 ? "against" : "for", title: formatSignedPercent(score) }, text.slice(start, end));
    span.style.setProperty("--strength", (Math.abs(score) / largest).toFixed(3));
    parts.push(text.slice(at, start), span);
    at = end;
  }
  return [...parts, text.slice(at)];
}

/** @param {string} label @param {WordScore[]} words */
function strongest(label, words) {
  const named = words.filter(({ score }) => Math.abs(score) >= MIN_NAMED);
  named.sort((a, b) => Math.abs(b.score) - Math.abs(a.score));
  const list = named.slice(0, MAX_NAMED).map(({ word, score }) => `${word} ${formatSignedPercent(score)}`);
  return list.length > 0 ? t("strongest_words", { label, words: list.join(t("list_comma")) }) : t("no_strong_word");
}
