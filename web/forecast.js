// What a model would do on this device, before it is downloaded: whether it fits, and about how many tokens it would write per second.

import { probe } from "./engine.js";

const KEY = "trice.probe";

/** Of the bandwidth that is measured, the shares that decoding reaches at worst and at best. */
const SHARES = [0.35, 0.8];
/** Seconds of a token that no bandwidth shortens: its dispatches, and its way back from the GPU. */
const FIXED_SECONDS = [0.008, 0.002];

/** @typedef {{bytesPerSecond: number, maxBufferBytes: number}} Probed */

/** What this device was measured to be, on an earlier visit or on this one. @type {Probed | null} */
let probed = stored();
/** @type {Promise<void> | null} */
let probing = null;

/** Measures the device, once per visit; where that fails, nothing is foretold. */
export function probeDevice() {
  probing ??= measure().catch(() => {});
  return probing;
}

async function measure() {
  const { device, bytesPerSecond } = await probe();
  remember(device, bytesPerSecond);
}

/** Measures the device that a model is on, unless an earlier visit did. @param {import("./engine.js").Model} model */
export async function probeBy(model) {
  if (!probed) remember(model.device, await model.bandwidth());
}

/** @param {import("./engine.js").DeviceInfo} device @param {number} bytesPerSecond */
function remember(device, bytesPerSecond) {
  probed = { bytesPerSecond, maxBufferBytes: device.max_buffer_bytes };
  localStorage.setItem(KEY, JSON.stringify(probed));
}

/** @returns {Probed | null} */
function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "null");
  } catch {
    return null;
  }
}

/** Tokens per second at least and at most: every token reads all weights once. Null before the device is measured. @param {number} weightBytes */
export function foretellSpeed(weightBytes) {
  if (!probed) return null;
  const seconds = weightBytes / probed.bytesPerSecond;
  const [least, most] = SHARES.map((share, i) => twoDigits(1 / (seconds / share + FIXED_SECONDS[i])));
  return { least, most };
}

/**
 * Whether weights and cache are likely to fit. No browser tells how much memory a GPU has: what it offers as one buffer is a fraction of
 * it, and of a machine that shares its memory with the GPU half may go there. Null before the device is measured.
 * @param {number} bytes
 */
export function foretellFit(bytes) {
  if (!probed) return null;
  const gibibytes = /** @type {any} */ (navigator).deviceMemory;
  const isBeyondMemory = gibibytes !== undefined && bytes > (gibibytes / 2) * 2 ** 30;
  return !isBeyondMemory && bytes <= 4 * probed.maxBufferBytes;
}

/** 217 is 220: a forecast has no third digit. @param {number} value */
const twoDigits = (value) => Number(value.toPrecision(2));
