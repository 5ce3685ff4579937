// The system prompt of the open conversation: chosen among presets, or written.

import { shortened } from "./conversation.js";
import { byId, el, iconButton } from "./dom.js";
import { library } from "./library.js";
import { t } from "./strings.js";

/** @typedef {import("./library.js").Preset} Preset */

/** What comes with the page, in its language. @returns {Preset[]} */
function builtIn() {
  return ["brief", "tutor", "editor", "translator", "programmer"].map((name) => ({
    name: t(`preset_${name}`),
    text: t(`preset_${name}_text`),
  }));
}

/** @returns {Preset[]} */
function all() {
  return [{ name: t("preset_none"), text: "" }, ...builtIn(), ...library.presets()];
}

/** What a system prompt is called. @param {string} text */
function nameOf(text) {
  return all().find((preset) => preset.text === text)?.name ?? shortened(text, 30);
}

/** @param {string} text */
function choose(text) {
  library.current.system = text;
  if (library.holds(library.current)) library.save(library.current);
  draw();
}

/** @param {Preset} preset @param {boolean} isOwn */
function row(preset, isOwn) {
  const isChosen = preset.text === library.current.system;
  const button = el("button", { type: "button", class: "plain", "aria-pressed": String(isChosen), onclick: () => choose(preset.text) }, preset.name);
  const remove = () => {
    library.removePreset(preset);
    draw();
  };
  return el("li", {}, button, isOwn ? iconButton("close", t("remove_preset", { name: preset.name }), remove) : null);
}

function draw() {
  const own = library.presets();
  byId("presets").replaceChildren(...all().map((preset) => row(preset, own.includes(preset))));
  const field = byId("system");
  if (field.value.trim() !== library.current.system) field.value = library.current.system;
  drawPresets();
}

/** The button under the conversation. */
export function drawPresets() {
  byId("open-system").textContent = t("system_is", { name: nameOf(library.current.system) });
}

export function startPresets() {
  byId("open-system").addEventListener("click", () => {
    draw();
    byId("system-sheet").showModal();
  });
  byId("system").addEventListener("input", () => choose(byId("system").value.trim()));
  byId("preset-form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    const [name, text] = [byId("preset-name").value.trim(), library.current.system];
    if (name === "" || text === "") return;
    byId("preset-name").value = "";
    library.savePreset({ name, text });
    draw();
  });
  library.addEventListener("open", drawPresets);
  library.addEventListener("change", drawPresets);
}
