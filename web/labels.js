// The labels of the Classify tab: the model's own, or those that a person writes, as chips.

import { byId, el, icon } from "./dom.js";
import { useModel } from "./models.js";
import { EMBED, slots } from "./slots.js";
import { formatNumber, t } from "./strings.js";

const slot = slots.classify;

/** Labels of the model's own, or of a result, that are shown; some models have hundreds. */
export const MAX_LABELS = 12;

/** Labels of one's own; empty means the model's. @type {string[]} */
let own = [];

/** Tells by a "change" event that a person has changed the labels. */
export const labelsChanged = new EventTarget();

/** Labels of one's own; empty means the model's. */
export function ownLabels() {
  return own;
}

/** Whether the model can label anything by itself, or labels are given. @param {import("./engine.js").Model} model */
export function hasLabels(model) {
  return own.length > 0 || model.info.labels.length > 0;
}

/** The built-in model's labels in the page's language. @param {string} label */
export function labelWords(label) {
  const key = `label_${label.toLowerCase()}`;
  const words = t(key);
  return words === key ? label : words;
}

/** Draws the chips: one's own can be removed, the model's are shown as they are. */
export function drawLabels() {
  const head = slot.model?.info.labels ?? [];
  byId("label-chips").replaceChildren(...(own.length > 0 ? own.map(chip) : headChips(head)));
  byId("labels-note").replaceChildren(...note(head.length > 0));
}

/** As many as a person reads. @param {string[]} labels */
function headChips(labels) {
  const chips = labels.slice(0, MAX_LABELS).map((label) => el("span", { class: "chip fixed", role: "listitem" }, labelWords(label)));
  const left = labels.length - chips.length;
  return left > 0 ? [...chips, el("span", { class: "note", role: "listitem" }, t("more_labels", { n: formatNumber(left) }))] : chips;
}

/** @param {string} label */
function chip(label) {
  const words = t("remove_label", { label });
  const remove = () => setLabels(own.filter((other) => other !== label));
  const button = el("button", { type: "button", class: "quiet", "aria-label": words, title: words, onclick: remove }, icon("close"));
  return el("span", { class: "chip", role: "listitem" }, label, button);
}

/** @param {boolean} hasHead @returns {(Node | string)[]} */
function note(hasHead) {
  if (own.length === 0) return [t(hasHead || !slot.model ? "labels_head" : "no_labels")];
  if (!slot.choice?.isDemo) return [t("labels_own")];
  const button = el("button", { type: "button", class: "link", onclick: () => useModel(EMBED) }, t("embed_name"));
  return [t("labels_demo"), " ", button];
}

/** @param {string[]} labels */
function setLabels(labels) {
  own = labels;
  drawLabels();
  labelsChanged.dispatchEvent(new Event("change"));
}

function addLabel() {
  const field = byId("new-label");
  const added = field.value.split(/[,，]/).map((/** @type {string} */ label) => label.trim());
  field.value = "";
  const labels = new Set([...own, ...added.filter((/** @type {string} */ label) => label !== "")]);
  if (labels.size > own.length) setLabels([...labels]);
}

export function startLabels() {
  byId("add-label").addEventListener("click", addLabel);
  byId("new-label").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    addLabel();
  });
}
