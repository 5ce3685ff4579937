// The models sheet: built-in models, real ones by one click, files, names and addresses.

import { byId, el } from "./dom.js";
import { foretellFit, foretellSpeed, probeBy, probeDevice } from "./forecast.js";
import { startHub } from "./hub.js";
import { drawShelf } from "./shelf.js";
import { EMBED, INTENT, SENTIMENT, slots, STORIES } from "./slots.js";
import { formatBytes, formatNumber, t } from "./strings.js";
import { currentTab, showTab } from "./tabs.js";

/** @typedef {import("./slots.js").Choice} Choice */
/**
 * @typedef {Choice & {aboutKey: string, bytes?: number, cacheBytes?: number, licence?: string}} Card `bytes` is about what is downloaded:
 * the hub says it exactly once it is asked. `cacheBytes` is what a context of 4096 tokens takes beside it.
 */

/** @type {Card[]} */
const BUILT_IN = [
  { ...STORIES, aboutKey: "stories_about" },
  { ...SENTIMENT, aboutKey: "sentiment_about" },
  { ...INTENT, aboutKey: "intent_about" },
  { ...EMBED, aboutKey: "embed_about" },
];

/** @type {Card[]} */
const CATALOGUE = [
  {
    name: "SmolLM2 135M Instruct",
    source: "hf:bartowski/SmolLM2-135M-Instruct-GGUF:Q4_K_M",
    aboutKey: "smollm_about",
    bytes: 105e6,
    cacheBytes: 94e6,
    licence: "Apache-2.0",
    tab: "chat",
  },
  {
    name: "Qwen2.5 0.5B Instruct",
    source: "hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M",
    aboutKey: "qwen_about",
    bytes: 491e6,
    cacheBytes: 50e6,
    licence: "Apache-2.0",
    tab: "chat",
  },
  {
    name: "MiniLM L6 v2",
    source: "hf:sentence-transformers/all-MiniLM-L6-v2",
    aboutKey: "minilm_about",
    bytes: 91e6,
    licence: "Apache-2.0",
    tab: "classify",
  },
];

/** After which a page that is ready and was asked nothing is idle. */
const IDLE_MS = 1000;

/** Loads a choice where it belongs and shows that tab. @param {Choice} choice */
export function useModel(choice) {
  byId("models").close();
  const tab = choice.tab ?? currentTab();
  showTab(tab);
  slots[tab].use(choice);
}

/** What kind of model it is shows once it is read: one that the tab has no use for goes to the other. @param {import("./slots.js").Slot} slot */
function moveWhereItBelongs(slot) {
  const fits = slot.tab === "chat" ? "decoder" : "encoder";
  if (!slot.model || slot.model.info.kind === fits) return;
  const other = slot.tab === "chat" ? "classify" : "chat";
  slots[other].adopt(slot);
  showTab(other);
}

/** Files from a picker or a drop. @param {string} name @param {File[] | import("./engine.js").ModelFile[]} files */
export function useFiles(name, files) {
  const [file] = files;
  if (files.length === 1 && file instanceof File && file.name.endsWith(".safetensors")) useHead(file);
  else if (files.length > 0) useModel({ source: files, name });
}

/** Weights without a configuration are no model but a head, learnt on the encoder in use or on the built-in one. @param {File} head */
function useHead(head) {
  const inUse = slots.classify.choice;
  const base = inUse && !inUse.isDemo ? inUse : EMBED;
  useModel({ source: base.source, name: head.name, tab: "classify", head });
}

/** Loads a model of the network: the catalogue knows where some belong. @param {string} name */
function useName(name) {
  return useModel(CATALOGUE.find(({ source }) => source === name) ?? { source: name, name: name.replace(/^hf:/, "") });
}

/** What the device would make of a model. @param {Card} card */
function forecastOf({ tab, bytes, cacheBytes = 0 }) {
  const fits = bytes ? foretellFit(bytes + cacheBytes) : null;
  if (!bytes || fits === null) return null;
  const speed = tab === "chat" ? foretellSpeed(bytes) : null;
  const words = speed && t("tokens_about", { n: [...new Set([speed.least, speed.most].map((n) => formatNumber(n)))].join("–") });
  return [words, t(fits ? "fits" : "may_not_fit")].filter(Boolean).join(" · ");
}

/** @param {Card} card */
function cardOf(card) {
  const inUse = Object.values(slots).some((slot) => slot.choice?.source === card.source && slot.status !== "failed");
  const forecast = forecastOf(card);
  const action = inUse ? t("in_use") : card.bytes ? t("download", { size: formatBytes(card.bytes) }) : t("use");
  return el(
    "div",
    { class: "card" },
    el("strong", {}, card.nameKey ? t(card.nameKey) : card.name),
    el("p", {}, t(card.aboutKey)),
    forecast ? el("span", { class: "note" }, forecast) : null,
    card.licence ? el("span", { class: "note" }, card.licence) : null,
    el("button", { type: "button", class: "plain", disabled: inUse, onclick: () => useModel(card) }, action),
  );
}

/** Draws the cards anew: what is in use and the language may have changed. */
export function drawCards() {
  byId("built-in").replaceChildren(...BUILT_IN.map(cardOf));
  byId("catalogue").replaceChildren(...CATALOGUE.map(cardOf));
  byId("cards").replaceChildren(...CATALOGUE.map(cardOf));
}

/** Says on the first page what its models would do here, once the model in use is idle and nobody has asked anything yet. @param {import("./slots.js").Slot} slot */
export function foretell(slot) {
  setTimeout(() => {
    const { model, choice } = slot;
    if (!byId("welcome").hidden && slot.status === "ready" && model && !choice?.isNative) probeBy(model).then(drawCards, () => {});
  }, IDLE_MS);
}

export function startModels() {
  byId("open-models").addEventListener("click", () => {
    drawCards();
    drawShelf(useName);
    byId("models").showModal();
    probeDevice().then(drawCards);
  });
  startHub(useName);
  for (const slot of Object.values(slots)) slot.addEventListener("change", () => moveWhereItBelongs(slot));
  for (const kind of ["file", "folder"]) {
    const input = byId(kind);
    byId(`open-${kind}`).addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      const files = /** @type {File[]} */ ([...input.files]);
      const folder = files[0]?.webkitRelativePath.split("/")[0];
      useFiles(folder || (files[0]?.name ?? ""), files);
      input.value = "";
    });
  }
}
