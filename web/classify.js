// The Classify tab: one text, its result as bars.

import { announce, byId, el } from "./dom.js";
import { drawLabels, hasLabels, labelsChanged, labelWords, ownLabels } from "./labels.js";
import { slots } from "./slots.js";
import { formatDuration, formatPercent, sentence, t } from "./strings.js";

/** @typedef {import("./engine.js").LabelScore} LabelScore */

const slot = slots.classify;

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
    if (!hasLabels(model)) return showNote(run, t("no_labels"));
    const begin = performance.now();
    const [{ labels: scores, unknown_share }] = await model.classify([text], { labels: ownLabels() });
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

/** Draws what depends on the language or the model anew. */
export function drawClassify() {
  const field = byId("classify-text");
  if (!field.value && runs === 0) field.value = t("text_example");
  drawLabels();
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
  labelsChanged.addEventListener("change", run);
  let lastModel = slot.model;
  slot.addEventListener("change", () => {
    if (slot.model === lastModel) return;
    lastModel = slot.model;
    drawLabels();
    if (slot.model && runs > 0) run();
  });
  drawClassify();
}
