// The models sheet's lists of what is in use and of what this browser keeps: sizes, last use, going on, deleting.

import { byId, el } from "./dom.js";
import { forgetModel, keptModels } from "./engine.js";
import { slots } from "./slots.js";
import { formatBytes, formatDate, sentence, t } from "./strings.js";

/** @typedef {import("./engine.js").KeptModel} KeptModel */

/** What to call a kept model. @param {KeptModel} kept */
const title = ({ name }) => name.replace(/^hf:/, "");

/** Draws both lists; `use` loads a kept model by its name. @param {(name: string) => void} use */
export async function drawShelf(use) {
  byId("in-use").replaceChildren(...Object.values(slots).filter((slot) => slot.status !== "empty").map(rowInUse));
  const kept = await keptModels();
  byId("kept").hidden = kept.length === 0;
  byId("kept-models").replaceChildren(...kept.map((model) => rowKept(model, use)));
  if (kept.length === 0) return;
  const { quota = 0, usage = 0 } = await navigator.storage.estimate();
  byId("kept-total").textContent = t("kept_total", { used: formatBytes(usage), quota: formatBytes(quota) });
}

/** @param {import("./slots.js").Slot} slot */
function rowInUse(slot) {
  const size = slot.model ? formatBytes(slot.model.info.weight_bytes) : slot.words;
  return el("li", {}, entry(slot.name, `${t(`for_${slot.tab}`)} · ${size}`));
}

/** @param {string} name @param {string} words */
function entry(name, words) {
  return el("span", {}, el("strong", {}, name), el("span", { class: "note" }, words));
}

/** @param {KeptModel} model @param {(name: string) => void} use */
function rowKept(model, use) {
  const isWhole = model.done === model.total;
  const size = isWhole ? formatBytes(model.total) : t("part_of", { done: formatBytes(model.done), total: formatBytes(model.total) });
  const words = [size, model.used > 0 ? t("last_used", { date: formatDate(model.used) }) : null].filter(Boolean).join(" · ");
  const [name, label] = [title(model), t(isWhole ? "use" : "go_on")];
  const useLabel = t(isWhole ? "use_model" : "go_on_with", { name });
  const loads = el("button", { type: "button", class: "plain", "aria-label": useLabel, onclick: () => use(model.name) }, label);
  const deletes = el("button", { type: "button", class: "plain", "aria-label": t("delete_model", { name }) }, t("delete"));
  const row = el("li", {}, entry(name, words), el("span", { class: "acts" }, loads, deletes));
  deletes.addEventListener("click", () => askToDelete(row, model, use));
  return row;
}

/** Deleting takes a second press, which says how much goes. @param {HTMLElement} row @param {KeptModel} model @param {(name: string) => void} use */
function askToDelete(row, model, use) {
  const sure = el("button", { type: "button", class: "main", onclick: () => remove(row, model, use) }, t("delete"));
  const leave = el("button", { type: "button", class: "plain", onclick: () => drawShelf(use) }, t("keep_it"));
  const question = t("delete_sure", { size: formatBytes(model.done) });
  row.replaceChildren(entry(title(model), question), el("span", { class: "acts" }, leave, sure));
  leave.focus();
}

/** @param {HTMLElement} row @param {KeptModel} model @param {(name: string) => void} use */
async function remove(row, model, use) {
  try {
    await forgetModel(model.id);
    await drawShelf(use);
    byId("models-title").focus();
  } catch (error) {
    row.append(el("span", { class: "failure" }, sentence(error)));
  }
}
