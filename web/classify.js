// The Classify tab: a text, labels as chips, results as bars.

import { announce, byId, el, icon } from "./dom.js";
import { MINILM, useModel } from "./models.js";
import { slots } from "./slots.js";
import { formatBytes, formatDuration, formatPercent, sentence, t } from "./strings.js";

/** @typedef {import("./engine.js").LabelScore} LabelScore */

const slot = slots.classify;

/** Labels of one's own; empty means the model's. @type {string[]} */
let ownLabels = [];
/** Counts runs, so that a late answer to an old question is dropped. */
let runs = 0;

/** Classifies the text with the labels as they are now. */
async function run() {
  const text = byId("classify-text").value.trim();
  if (text === "") return;
  const run = ++runs;
  byId("classify-note").textContent = slot.status === "ready" ? "" : t("waiting");
  try {
    if (slot.status === "failed") slot.retry();
    const model = await slot.ready();
    const labels = ownLabels;
    if (labels.length === 0 && model.info.labels.length === 0) return showNote(run, t("no_labels"));
    const begin = performance.now();
    const [{ labels: scores, unknown_share }] = await model.classify([text], { labels });
    if (run !== runs) return;
    const took = formatDuration(performance.now() - begin);
    showScores(scores);
    const note = t("took", { ms: took, device: model.device.name });
    showNote(run, unknown_share === undefined ? note : t("unknown_words", { share: formatPercent(unknown_share) }));
  } catch (error) {
    showError(run, error);
  }
}

/** @param {LabelScore[]} scores */
function showScores(scores) {
  byId("bars").replaceChildren(...scores.map(bar));
  const [{ label, score }] = scores;
  announce(t("classified", { label: labelWords(label), score: formatPercent(score) }));
}

/** @param {LabelScore} result */
function bar({ label, score }) {
  const fill = el("div", { class: "fill" });
  fill.style.width = `${score * 100}%`;
  const track = el("div", { class: "track", "aria-hidden": "true" }, fill);
  return el("div", { class: "score" }, el("span", {}, labelWords(label)), el("span", {}, formatPercent(score)), track);
}

/** The built-in model's labels in the page's language. @param {string} label */
function labelWords(label) {
  const key = `label_${label.toLowerCase()}`;
  const words = t(key);
  return words === key ? label : words;
}

/** @param {number} run @param {string} words */
function showNote(run, words) {
  if (run === runs) byId("classify-note").textContent = words;
}

/** @param {number} run @param {any} error */
function showError(run, error) {
  if (run !== runs) return;
  if (error?.name === "Crash" || error?.name === "Gpu") slot.fail(error);
  byId("bars").replaceChildren();
  byId("classify-note").replaceChildren(el("span", { class: "failure", role: "alert" }, sentence(error)));
}

/** Chips: one's own can be removed, the model's are shown as they are. */
function showLabels() {
  const own = ownLabels.map((label) => chip(label));
  const head = (slot.model?.info.labels ?? []).map((label) => {
    return el("span", { class: "chip fixed", role: "listitem" }, labelWords(label));
  });
  byId("label-chips").replaceChildren(...(own.length > 0 ? own : head));
  byId("labels-note").replaceChildren(...labelsNote(head.length > 0));
}

/** @param {string} label */
function chip(label) {
  const words = t("remove_label", { label });
  const remove = () => setLabels(ownLabels.filter((other) => other !== label));
  const button = el("button", { type: "button", class: "quiet", "aria-label": words, title: words, onclick: remove }, icon("close"));
  return el("span", { class: "chip", role: "listitem" }, label, button);
}

/** @param {boolean} hasHead @returns {(Node | string)[]} */
function labelsNote(hasHead) {
  if (ownLabels.length === 0) return [t(hasHead || !slot.model ? "labels_head" : "no_labels")];
  if (!slot.choice?.isDemo) return [t("labels_own")];
  const size = formatBytes(MINILM.bytes ?? 0);
  const words = `${MINILM.name} · ${t("download", { size })}`;
  const button = el("button", { type: "button", class: "link", onclick: () => useModel(MINILM) }, words);
  return [t("labels_demo"), " ", button];
}

/** @param {string[]} labels */
function setLabels(labels) {
  ownLabels = labels;
  showLabels();
  run();
}

function addLabel() {
  const field = byId("new-label");
  const added = field.value.split(/[,，]/).map((/** @type {string} */ label) => label.trim());
  field.value = "";
  const labels = new Set([...ownLabels, ...added.filter((/** @type {string} */ label) => label !== "")]);
  if (labels.size > ownLabels.length) setLabels([...labels]);
}

/** Draws what depends on the language or the model anew. */
export function drawClassify() {
  const field = byId("classify-text");
  if (!field.value && runs === 0) field.value = t("text_example");
  showLabels();
}

export function startClassify() {
  byId("classify-form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    run();
  });
  byId("classify-text").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    run();
  });
  byId("add-label").addEventListener("click", addLabel);
  byId("new-label").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    addLabel();
  });
  let lastModel = slot.model;
  slot.addEventListener("change", () => {
    if (slot.model === lastModel) return;
    lastModel = slot.model;
    showLabels();
    if (slot.model && runs > 0) run();
  });
  drawClassify();
}
