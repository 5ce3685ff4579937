// The Classify tab: one text, its result as bars, and why.

import { announce, byId, el } from "./dom.js";
import { drawLabels, hasLabels, labelsChanged, labelWords, MAX_LABELS, ownLabels } from "./labels.js";
import { shading } from "./shading.js";
import { slots } from "./slots.js";
import { formatDuration, formatPercent, sentence, t } from "./strings.js";

/** @import { LabelScore, Model } from "./engine.js" */

const slot = slots.classify;

/** Counts runs, so that a late answer to an old question is dropped. */
let runs = 0;
/** Ends the explanation at work. */
let explaining = new AbortController();

/** Classifies the text with the labels as they are now. */
async function run() {
  const text = byId("classify-text").value.trim();
  if (text === "") return;
  const run = ++runs;
  explaining.abort();
  byId("why").replaceChildren();
  byId("classify-note").textContent = slot.status === "ready" ? "" : t("waiting");
  try {
    if (slot.status === "failed") slot.retry();
    const model = await slot.ready();
    if (!hasLabels(model)) return showNote(run, t("no_labels"));
    const begin = performance.now();
    const [{ labels: scores, unknown_share }] = await model.classify([text], { labels: ownLabels() });
    if (run !== runs) return;
    const took = formatDuration(performance.now() - begin);
    showScores(scores, (label) => explain(model, text, label));
    const note = t("took", { ms: took, device: model.device.name });
    showNote(run, unknown_share === undefined ? note : t("unknown_words", { share: formatPercent(unknown_share) }));
    await explain(model, text, scores[0].label);
  } catch (error) {
    showError(run, error);
  }
}

/** Shows what the words of the text do for a label, which takes a run of the model for each. @param {Model} model @param {string} text @param {string} label */
async function explain(model, text, label) {
  explaining.abort();
  explaining = new AbortController();
  const { signal } = explaining;
  for (const bar of byId("bars").children) bar.setAttribute("aria-pressed", String(bar.getAttribute("data-label") === label));
  byId("why").replaceChildren(el("p", { class: "note" }, t("weighing_words")));
  try {
    const [{ explanation }] = await model.classify([text], { labels: ownLabels(), explain: label, signal });
    if (!signal.aborted && explanation) byId("why").replaceChildren(...shading(text, explanation));
  } catch (error) {
    if (signal.aborted) return;
    failWith(error);
    byId("why").replaceChildren(failure(error));
  }
}

/** Labels of one's own have bars all of them, of a model's the best. @param {LabelScore[]} scores @param {(label: string) => void} onChoose */
function showScores(scores, onChoose) {
  const shown = ownLabels().length > 0 ? scores : scores.slice(0, MAX_LABELS);
  byId("bars").replaceChildren(...shown.map((score) => bar(score, onChoose)));
  const [{ label, score }] = scores;
  announce(t("classified", { label: labelWords(label), score: formatPercent(score) }));
}

/** A result, which explains itself when it is pressed. @param {LabelScore} result @param {(label: string) => void} onChoose */
function bar({ label, score }, onChoose) {
  const fill = el("span", { class: "fill" });
  fill.style.width = `${score * 100}%`;
  const track = el("span", { class: "track", "aria-hidden": "true" }, fill);
  const props = { type: "button", class: "score", "data-label": label, title: t("explain_label"), onclick: () => onChoose(label) };
  return el("button", props, el("span", {}, labelWords(label)), " ", el("span", {}, formatPercent(score)), track);
}

/** @param {number} run @param {string} words */
function showNote(run, words) {
  if (run === runs) byId("classify-note").textContent = words;
}

/** @param {number} run @param {any} error */
function showError(run, error) {
  if (run !== runs) return;
  failWith(error);
  byId("bars").replaceChildren();
  byId("classify-note").replaceChildren(failure(error));
}

/** The model is lost with its device or its engine. @param {any} error */
function failWith(error) {
  if (error?.name === "Crash" || error?.name === "Gpu") slot.fail(error);
}

/** @param {any} error */
function failure(error) {
  return el("span", { class: "failure", role: "alert" }, sentence(error));
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
