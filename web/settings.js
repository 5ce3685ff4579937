// The page's settings: kept in this browser, edited in the settings sheet.

import { byId } from "./dom.js";
import { currentLanguage, setLanguage } from "./strings.js";

const KEY = "trice.settings";

/** As strings, the way the form holds them; empty means the default. */
const DEFAULTS = {
  temperature: "0.7",
  topP: "0.95",
  maxTokens: "512",
  seed: "",
  system: "",
  endpoint: "",
  language: "",
  theme: "",
};

/** @type {typeof DEFAULTS} */
export const settings = { ...DEFAULTS, ...stored() };

/** Tells of changes by a "change" event, after the page's colours and words have followed. */
export const settingsChanged = new EventTarget();

/** What the settings say about sampling, without the fields that are empty. */
export function samplingOptions() {
  const { temperature, topP, maxTokens, seed } = settings;
  const filled = Object.entries({ temperature, topP, maxTokens, seed }).filter(([, value]) => value !== "");
  return Object.fromEntries(filled.map(([name, value]) => [name, Number(value)]));
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

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}");
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
