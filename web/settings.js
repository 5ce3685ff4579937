// The page's settings: kept in this browser, edited in the settings sheet.

import { byId } from "./dom.js";
import { currentLanguage, setLanguage } from "./strings.js";

const KEY = "trice.settings";

/** As strings, the way the form holds them; empty means the default. */
const DEFAULTS = {
  temperature: "0.7",
  topK: "40",
  topP: "0.95",
  minP: "0.05",
  repeatPenalty: "1",
  maxTokens: "512",
  seed: "",
  stop: "",
  thinking: "",
  endpoint: "",
  language: "",
  engine: "browser",
  theme: "",
};

/** @type {typeof DEFAULTS} */
export const settings = { ...DEFAULTS, ...kept() };

/** Tells of changes by a "change" event, after the page's colours and words have followed. */
export const settingsChanged = new EventTarget();

/** What the settings say about sampling, without the fields that are empty. @returns {import("./engine.js").GenerateOptions} */
export function samplingOptions() {
  const { temperature, topK, topP, minP, repeatPenalty, maxTokens, seed, stop, thinking } = settings;
  const numbers = { temperature, topK, topP, minP, repeatPenalty, maxTokens, seed };
  const filled = Object.entries(numbers).filter(([, value]) => value !== "");
  const options = Object.fromEntries(filled.map(([name, value]) => [name, Number(value)]));
  const stops = stop.split("\n").filter((line) => line !== "");
  return { ...options, stop: stops, thinking: thinking === "" ? undefined : thinking === "on" };
}

/** Changes one of them from elsewhere than the form. @param {keyof typeof DEFAULTS} name @param {string} value */
export function changeSetting(name, value) {
  settings[name] = value;
  store();
  fill(byId("settings-form"));
  settingsChanged.dispatchEvent(new Event("change"));
}

/** Applies colours and language, and lets the form write them. */
export function startSettings() {
  apply();
  const form = /** @type {HTMLFormElement} */ (byId("settings-form"));
  fill(form);
  form.addEventListener("input", (event) => {
    const field = /** @type {HTMLInputElement} */ (event.target);
    if (!field.validity.valid) return;
    Object.assign(settings, { [field.name]: field.value.trim() });
    store();
    apply();
    settingsChanged.dispatchEvent(new Event("change"));
  });
}

/** @param {HTMLFormElement} form */
function fill(form) {
  for (const [name, value] of Object.entries(settings)) {
    const field = /** @type {HTMLInputElement} */ (form.elements.namedItem(name));
    field.value = name === "language" ? currentLanguage() : value;
  }
}

function apply() {
  setLanguage(settings.language);
  if (settings.theme) document.documentElement.dataset.theme = settings.theme;
  else delete document.documentElement.dataset.theme;
}

/** What was kept of the settings that there are. */
function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return Object.fromEntries(Object.entries(found).filter(([name, value]) => name in DEFAULTS && typeof value === "string"));
  } catch {
    return {};
  }
}

function store() {
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // A browser that keeps nothing still runs the page; the settings last until it is closed.
  }
}
