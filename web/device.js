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

/** After which a model that nothing was asked of is idle. */
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

/** Runs the engine's self-test on the device in use and says what came of it. */
async function checkDevice() {
  const [button, words] = [byId("self-test"), byId("self-test-result")];
  button.disabled = true;
  words.hidden = false;
  try {
    /** @param {{done: number, total: number}} at */
    const onProgress = ({ done, total }) => (words.textContent = t("self_test_at", { done: String(done), total: String(total) }));
    words.textContent = verdict(keep(await selfTest({ onProgress })));
  } catch (error) {
    words.textContent = sentence(error);
  } finally {
    button.disabled = false;
    drawDevice();
  }
}

/** Checks a device that was never checked, once its model has been idle for a while. @param {import("./slots.js").Slot} slot */
function checkWhenIdle(slot) {
  setTimeout(() => {
    if (slot.status !== "ready" || slot.choice?.isNative || known() || byId("self-test").disabled) return;
    if (document.hidden || byId("conversation").classList.contains("busy")) checkWhenIdle(slot);
    else checkDevice();
  }, IDLE_MS);
}

/** What tells one device from another, as far as a page sees. */
function deviceKey() {
  const device = modelInUse()?.device;
  return [device?.name, device?.driver, navigator.userAgent].join("\n");
}

/** @template T @param {T} checks @returns {T} */
function keep(checks) {
  try {
    localStorage.setItem(VERDICTS, JSON.stringify({ key: deviceKey(), checks }));
  } catch {
    // Checked again next time.
  }
  return checks;
}

/** What the device in use was found to compute; null where it was not checked. @returns {import("./engine.d.ts").Checked[] | null} */
function known() {
  try {
    const { key, checks } = JSON.parse(localStorage.getItem(VERDICTS) ?? "{}");
    return key === deviceKey() ? checks : null;
  } catch {
    return null;
  }
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
    if (modelInUse() && !byId("self-test").disabled) showVerdict();
  });
  byId("copy-device").addEventListener("click", () => {
    navigator.clipboard.writeText(facts().map(([name, value]) => `${name}: ${value}`).join("\n"));
  });
  for (const slot of Object.values(slots)) {
    slot.addEventListener("change", () => {
      drawDevice();
      if (slot.status === "ready") checkWhenIdle(slot);
    });
  }
  drawDevice();
}
