// The rows of many texts with their labels: a page of them at a time, those of one label, those that hold some words.

import { byId, el } from "./dom.js";
import { labelWords } from "./labels.js";
import { formatNumber, formatPercent, t } from "./strings.js";

/** Rows shown at once. */
const PAGE = 100;
/** Characters of a text shown. */
const MAX_SHOWN = 600;
/** What the choice of labels calls rows without a result. No label is that. */
const ERRORS = "\u0000error";

/** @import { Row, RowResult } from "./engine.js" */

/** @typedef {{rows: Row[], results: RowResult[]}} Labelled */

/** @type {Labelled | null} */
let shown = null;
/** The rows that pass the filter among the first `nSeen`. @type {number[]} */
let matches = [];
let nSeen = 0;
/** How often each label came, of the first `nCounted` results. @type {Map<string, number>} */
const counts = new Map();
let nCounted = 0;
/** The options that choose a label. @type {Map<string, HTMLElement>} */
const options = new Map();
let page = 0;
/** What the rows on the screen were drawn from, so that they are drawn anew only when they change. */
let drawn = "";

/** @param {RowResult} result */
const labelOf = (result) => ("error" in result ? ERRORS : result.label);

/** Shows rows from the first on, with the results that they have and will have. @param {Labelled} labelled */
export function showRows(labelled) {
  clearView();
  shown = labelled;
}

export function clearView() {
  shown = null;
  counts.clear();
  nCounted = 0;
  options.clear();
  byId("filter-label").replaceChildren();
  byId("filter-words").value = "";
  filterAnew();
}

/** Draws what has changed. */
export function drawView() {
  if (!shown) return;
  count(shown);
  match(shown);
  const first = page * PAGE;
  const indices = matches.slice(first, first + PAGE);
  const nDone = shown.results.length;
  const state = `${indices.at(0)} ${indices.length} ${indices.filter((i) => i < nDone).length} ${document.documentElement.lang}`;
  if (state !== drawn) byId("many-rows").replaceChildren(...indices.map((i) => drawRow(i, shown?.rows[i], shown?.results[i])));
  drawn = state;
  byId("many-pages").hidden = matches.length <= PAGE;
  byId("many-none").hidden = matches.length > 0 || nSeen < shown.rows.length;
  byId("page-before").disabled = page === 0;
  byId("page-after").disabled = first + PAGE >= matches.length;
  const range = `${formatNumber(first + 1)}–${formatNumber(first + indices.length)}`;
  byId("page-words").textContent = t("n_of", { done: range, total: formatNumber(matches.length) });
}

/** Counts the labels of new results, and offers those that came. @param {Labelled} labelled */
function count({ rows, results }) {
  for (; nCounted < results.length; nCounted++) {
    const label = labelOf(results[nCounted]);
    counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  offer("", t("all_labels"), rows.length);
  for (const [label, n] of counts) offer(label, label === ERRORS ? t("no_result") : labelWords(label), n);
}

/** @param {string} label @param {string} words @param {number} n */
function offer(label, words, n) {
  let option = options.get(label);
  if (!option) {
    option = /** @type {HTMLElement} */ (el("option", { value: label }));
    options.set(label, option);
    byId("filter-label").append(option);
  }
  option.textContent = `${words} (${formatNumber(n)})`;
}

/** Adds the rows that have come since and pass the filter: of a label only those that have it already. @param {Labelled} labelled */
function match({ rows, results }) {
  const label = byId("filter-label").value;
  const words = byId("filter-words").value.trim().toLowerCase();
  for (const end = label ? results.length : rows.length; nSeen < end; nSeen++) {
    if (label && labelOf(results[nSeen]) !== label) continue;
    if (words && !rows[nSeen].text.toLowerCase().includes(words)) continue;
    matches.push(nSeen);
  }
}

function filterAnew() {
  matches = [];
  nSeen = 0;
  page = 0;
  drawn = "";
  drawView();
}

/** @param {number} i @param {Row} [row] @param {RowResult} [result] */
function drawRow(i, row, result) {
  const text = (row?.text ?? "").slice(0, MAX_SHOWN);
  const error = row?.error ?? (result && "error" in result ? result.error : undefined);
  const cells = error === undefined ? labelCells(result) : [el("td", { colspan: 2, class: "failure" }, error)];
  return el(
    "tr",
    {},
    el("td", { class: "number" }, formatNumber(i + 1)),
    el("td", {}, el("div", { class: row?.error === undefined ? "cut" : "cut dim" }, text)),
    ...cells,
  );
}

/** @param {RowResult} [result] */
function labelCells(result) {
  if (!result || "error" in result) return [el("td"), el("td")];
  return [el("td", {}, el("div", { class: "label" }, labelWords(result.label))), el("td", { class: "number" }, formatPercent(result.score))];
}

/** @param {number} by */
function turn(by) {
  page += by;
  drawView();
}

export function startView() {
  byId("filter-label").addEventListener("change", filterAnew);
  byId("filter-words").addEventListener("input", filterAnew);
  byId("page-before").addEventListener("click", () => turn(-1));
  byId("page-after").addEventListener("click", () => turn(1));
}
