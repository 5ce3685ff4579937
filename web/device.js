// What computes: the device panel, and the words for browsers without WebGPU.

import { byId, el } from "./dom.js";
import { selfTest } from "./engine.js";
import { slots } from "./slots.js";
import { formatBinary, formatBytes, formatNumber, sentence, t } from "./strings.js";
import { currentTab } from "./tabs.js";

/** Why nothing can be computed here: no WebGPU, no adapter, or null where it can. @returns {Promise<"webgpu" | "adapter" | null>} */
export async function whatIsMissing() {
  const gpu = /** @type {any} */ (navigator).gpu;
  if (!gpu) return "webgpu";
  return (await gpu.requestAdapter()) ? null : "adapter";
}

/** Says what is missing and how to get it; `missing` is the browser's WebGPU or the machine's adapter. @param {"webgpu" | "adapter"} missing */
export function showNoWebGpu(missing) {
  const browser = browserName();
  const ways = ["chrome", "safari", "firefox"].map((name) => {
    const here = name === browser;
    return el("li", { class: here ? "here" : undefined }, t(`how_${name}`));
  });
  if (!isSecureContext) ways.unshift(el("li", { class: "here" }, t("insecure")));
  byId("no-webgpu-title").textContent = t(`no_${missing}`);
  byId("no-webgpu-why").textContent = t(`no_${missing}_why`);
  byId("no-webgpu-how").replaceChildren(...ways, el("li", {}, t("how_native")));
  byId("no-webgpu").hidden = false;
}

function browserName() {
  const agent = navigator.userAgent;
  if (/Firefox\//.test(agent)) return "firefox";
  return /Chrome\/|Chromium\/|Edg\//.test(agent) ? "chrome" : "safari";
}

/** After which models that nothing was asked of are idle. */
const IDLE_MS = 8000;

/** What the self-test last said of a device, by adapter, driver and browser. */
const VERDICTS = "trice.self-test";

/** The model of the tab that is shown, or any. */
function modelInUse() {
  return slots[currentTab()].model ?? slots.chat.model ?? slots.classify.model;
}

/** @returns {[string, string][]} */
function facts() {
  /** @type {[string, string][]} */
  const rows = [];
  const model = modelInUse();
  if (model) {
    const { device, info } = model;
    const [smallest, largest] = device.subgroup_size;
    const size = smallest === largest ? String(smallest) : `${smallest}–${largest}`;
    const features = [device.f16 && t("half_floats"), device.subgroups && t("subgroups", { size })].filter(Boolean);
    rows.push([t("adapter"), device.name], [t("backend"), device.backend], [t("driver"), device.driver], [t("kind"), device.kind]);
    rows.push([t("features"), features.join(", ") || t("none")]);
    rows.push([t("max_binding"), formatBinary(device.max_binding_bytes)], [t("max_buffer"), formatBinary(device.max_buffer_bytes)]);
    rows.push([t("max_workgroup"), formatBinary(device.max_workgroup_bytes)], [t("max_storage"), String(device.max_storage_buffers)]);
    const words = { n: formatNumber(info.n_params), size: formatBytes(info.weight_bytes), context: formatNumber(info.context_len) };
    rows.push([t("model_in_use"), `${info.name} (${info.architecture}): ${t("parameters", words)}`]);
  } else {
    rows.push([t("adapter"), t("no_device")]);
  }
  rows.push([t("browser"), navigator.userAgent]);
  return rows.filter(([, value]) => value !== "");
}

/** The footer's figure: what computes, and whether it was found to do so rightly. */
export function drawDevice() {
  const [name, checks] = [modelInUse()?.device.name || t("device"), known()];
  const isWrong = checks?.some(({ is_right }) => !is_right) ?? false;
  byId("device-words").textContent = checks ? `${name} · ${t(isWrong ? "computes_wrong" : "checked")}` : name;
  byId("open-device").classList.toggle("wrong", isWrong);
}

/** Runs the engine's self-test on the browser's device and says what came of it. */
async function checkDevice() {
  const [button, words] = [byId("self-test"), byId("self-test-result")];
  const key = deviceKey();
  button.disabled = true;
  words.hidden = false;
  // Where it ends badly it is not begun again by itself.
  keep({ key, checks: null });
  try {
    /** @param {{done: number, total: number}} at */
    const onProgress = ({ done, total }) => (words.textContent = t("self_test_at", { done: String(done), total: String(total) }));
    const checks = await selfTest({ onProgress });
    keep({ key, checks });
    words.textContent = verdict(checks);
  } catch (error) {
    words.textContent = sentence(error);
  } finally {
    button.disabled = false;
    drawDevice();
  }
}

/** Checks a device that was never checked, once its models have rested for a while. @param {number} [afterMs] */
function checkWhenIdle(afterMs = IDLE_MS) {
  setTimeout(() => {
    if (!modelInUse() || isNative() || kept()?.key === deviceKey()) return;
    const rests = Object.values(slots).map(({ status, model }) => (status === "loading" ? 0 : model ? (model.stats().idle_ms ?? 0) : Infinity));
    const missing = document.hidden ? IDLE_MS : IDLE_MS - Math.min(...rests);
    if (missing > 0) checkWhenIdle(missing);
    else checkDevice();
  }, afterMs);
}

/** What tells one device from another, as far as a page sees. */
function deviceKey() {
  const device = modelInUse()?.device;
  return [device?.name, device?.driver, navigator.userAgent].join("\n");
}

/** Whether the device in use is that of the program which serves the page: it is not the browser's to check. */
function isNative() {
  return Object.values(slots).some(({ choice }) => choice?.isNative);
}

/** A device, and what it was found to compute; null where that was not found out. @typedef {{key: string, checks: import("./engine.d.ts").Checked[] | null}} Found */

/** What this visit found, or an earlier one. @type {Found | null} */
let found = null;

/** @param {Found} what */
function keep(what) {
  found = what;
  try {
    localStorage.setItem(VERDICTS, JSON.stringify(what));
  } catch {
    // It holds for this visit.
  }
}

/** @returns {Found | null} */
function kept() {
  try {
    found ??= JSON.parse(localStorage.getItem(VERDICTS) ?? "null");
  } catch {
    // Then nothing is known.
  }
  return found;
}

/** What the device in use was found to compute; null where it was not checked. */
function known() {
  const { key, checks } = kept() ?? {};
  return key === deviceKey() && !isNative() ? (checks ?? null) : null;
}

/** Says what is known of the device in use, or checks it. */
function showVerdict() {
  const checks = known();
  if (!checks) return checkDevice();
  byId("self-test-result").hidden = false;
  byId("self-test-result").textContent = verdict(checks);
}

/** @param {import("./engine.d.ts").Checked[]} checks */
function verdict(checks) {
  const wrong = checks.filter((checked) => !checked.is_right);
  if (wrong.length > 0) {
    const names = wrong.map(({ dtype, math, n_columns }) => `${dtype} × ${n_columns} (${math})`).join(", ");
    return t("self_test_wrong", { n: String(wrong.length), all: String(checks.length), names });
  }
  const worst = Math.max(...checks.map(({ nmse }) => nmse ?? 0));
  return t("self_test_right", { n: String(checks.length), worst: worst.toExponential(1) });
}

export function startDevice() {
  byId("self-test").addEventListener("click", checkDevice);
  byId("open-device").addEventListener("click", () => {
    const rows = facts().flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
    byId("device-facts").replaceChildren(...rows);
    byId("device").showModal();
    byId("self-test").hidden = isNative();
    byId("self-test-result").hidden = isNative();
    if (modelInUse() && !isNative() && !byId("self-test").disabled) showVerdict();
  });
  byId("copy-device").addEventListener("click", () => {
    navigator.clipboard.writeText(facts().map(([name, value]) => `${name}: ${value}`).join("\n"));
  });
  for (const slot of Object.values(slots)) {
    slot.addEventListener("change", () => {
      drawDevice();
      if (slot.status === "ready") checkWhenIdle();
    });
  }
  drawDevice();
}
