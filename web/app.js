// Puts the page together: words, tabs, sheets, the bar that tells how loading goes. DOM only; the engine is in a worker.

import "./trusted.js";
import { drawChat, startChat } from "./chat.js";
import { lastCrash, watchLeaving } from "./crash.js";
import { drawClassify, startClassify } from "./classify.js";
import { drawDevice, showNoWebGpu, startDevice, whatIsMissing } from "./device.js";
import { announce, byId, placeIcons } from "./dom.js";
import { startDrop } from "./drop.js";
import { startLabels } from "./labels.js";
import { areTexts, drawMany, openTexts, startMany } from "./many.js";
import { drawCards, foretell, startModels, useFiles, useModel } from "./models.js";
import { keepForOffline } from "./offline.js";
import { hasProgram, startNative, useProgram } from "./native.js";
import { drawPresets, startPresets } from "./presets.js";
import { drawRail, startRail } from "./rail.js";
import { settingsChanged, startSettings } from "./settings.js";
import { slots } from "./slots.js";
import { formatNumber, t } from "./strings.js";
import { currentTab, startTabs, tabChanged } from "./tabs.js";

/** The bar and the model's name, for the tab that is shown. */
function drawStage() {
  const slot = slots[currentTab()];
  byId("model-name").textContent = slot.name;
  byId("drop-words").textContent = t(currentTab() === "classify" ? "drop_texts" : "drop_here");
  const bar = byId("stage-bar");
  if (slot.fraction === null) bar.removeAttribute("value");
  else bar.value = slot.fraction;
  const stage = bar.closest(".stage");
  stage.classList.toggle("ready", slot.status !== "loading" && slot.status !== "paused");
  stage.classList.toggle("failed", slot.status === "failed");
  byId("stage-words").textContent = slot.words;
  const name = slot.status === "failed" ? slot.error.name : "";
  const canGoOn = slot.status === "paused" || (name === "Io" && slot.isDownloading);
  byId("stage-pause").hidden = slot.status !== "loading" || !slot.isDownloading;
  byId("stage-go-on").hidden = !canGoOn;
  byId("stage-unkept").hidden = name !== "Quota";
  byId("stage-retry").hidden = canGoOn || slot.smallerContext !== null || !["Io", "Gpu", "Crash"].includes(name);
  const smaller = slot.smallerContext;
  byId("stage-smaller").hidden = smaller === null;
  if (smaller !== null) byId("stage-smaller").textContent = t("use_context", { n: formatNumber(smaller) });
  byId("stage-choose").hidden = !["Io", "Format", "Unsupported", "Limit", "Quota", "Invalid"].includes(name) && slot.smallerContext === null;
}

/** Begins with the built-in model of the tab that is shown. */
function loadCurrent() {
  const slot = slots[currentTab()];
  if (slot.status === "empty") slot.use(slot.fallback);
}

/** @param {import("./slots.js").Slot} slot */
async function onSlotChange(slot) {
  if (slot.tab === currentTab()) drawStage();
  if (slot.status === "ready") announce(`${t("stage_ready")}: ${slot.name}`);
  if (slot.status !== "failed") return;
  const missing = await whatIsMissing();
  if (missing && !slot.choice?.isNative) (await hasProgram()) ? useProgram() : showNoWebGpu(missing);
}

/** A file of texts goes to those, anything else is a model. @param {import("./drop.js").Dropped} dropped */
function onDrop({ name, files }) {
  if (currentTab() === "classify" && areTexts(files)) openTexts(files[0]);
  else useFiles(name, files);
}

function startSheets() {
  byId("open-settings").addEventListener("click", () => byId("settings").showModal());
  for (const sheet of document.querySelectorAll("dialog")) {
    sheet.querySelector("[data-close]")?.addEventListener("click", () => sheet.close());
    sheet.addEventListener("pointerdown", (event) => isOutside(sheet, event) && sheet.close());
  }
}

/** A press on the backdrop lands on the dialog itself. @param {HTMLElement} sheet @param {PointerEvent} event */
function isOutside(sheet, { target, clientX: x, clientY: y }) {
  const { left, right, top, bottom } = sheet.getBoundingClientRect();
  return target === sheet && (x < left || x > right || y < top || y > bottom);
}

/** Says that the page was closed in the middle of a load, if it was. */
async function tellOfCrash() {
  const crash = await lastCrash();
  if (!crash) return;
  const { source, name, contextLength = 4096 } = crash;
  byId("crashed-words").textContent = t("crashed", { name });
  byId("crashed").hidden = false;
  const close = () => (byId("crashed").hidden = true);
  byId("crashed-close").addEventListener("click", close);
  byId("crashed-choose").addEventListener("click", () => {
    close();
    byId("open-models").click();
  });
  byId("crashed-smaller").addEventListener("click", () => {
    close();
    useModel({ source, name, contextLength: Math.max(256, contextLength / 2) });
  });
}

function redraw() {
  drawStage();
  drawCards();
  drawChat();
  drawPresets();
  drawRail();
  drawClassify();
  drawMany();
  drawDevice();
}

function start() {
  watchLeaving();
  placeIcons();
  startSettings();
  startNative();
  startTabs();
  startSheets();
  startModels();
  startPresets();
  startRail();
  startChat();
  startLabels();
  startClassify();
  startMany();
  startDrop(onDrop);
  startDevice();
  for (const slot of Object.values(slots)) slot.addEventListener("change", () => onSlotChange(slot));
  byId("stage-choose").addEventListener("click", () => byId("open-models").click());
  byId("stage-pause").addEventListener("click", () => slots[currentTab()].pause());
  for (const again of ["go-on", "retry"]) byId(`stage-${again}`).addEventListener("click", () => slots[currentTab()].retry());
  byId("stage-smaller").addEventListener("click", () => {
    const slot = slots[currentTab()];
    slot.retry({ contextLength: slot.smallerContext ?? undefined });
  });
  byId("stage-unkept").addEventListener("click", () => slots[currentTab()].retry({ keep: false }));
  settingsChanged.addEventListener("change", () => {
    redraw();
    loadCurrent();
  });
  tabChanged.addEventListener("change", () => {
    loadCurrent();
    drawStage();
    drawDevice();
  });
  // Kept once there is nothing more urgent to fetch.
  const first = slots[currentTab()];
  first.ready().then(() => (keepForOffline(), foretell(first)), () => {});
  // The mark of the last visit is read before this one sets its own.
  tellOfCrash().then(loadCurrent);
  redraw();
}

start();
