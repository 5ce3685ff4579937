// One switch between two engines: this browser's GPU, or the program that serves this page (`trice serve`) on the machine's own.

import { byId } from "./dom.js";
import { servedModels } from "./remote.js";
import { changeSetting, settings, settingsChanged } from "./settings.js";
import { DEFAULTS, slots } from "./slots.js";

/** @typedef {import("./slots.js").Choice} Choice */

/** The engine in use: as the settings name it. */
let engine = "browser";

/** Whether a program serves this page and has models; asked for once. @type {Promise<boolean> | null} */
let isServed = null;

/** Whether there is a program to run on. */
export function hasProgram() {
  isServed ??= servedModels().then((models) => models.length > 0);
  return isServed;
}

/** Moves both tabs to the engine that the settings name, the one that is shown at once. */
function follow() {
  if (settings.engine === engine) return;
  engine = settings.engine;
  for (const slot of Object.values(slots)) slot.beginWith(engine === "native" ? { source: "", isNative: true } : DEFAULTS[slot.tab]);
}

/** Runs on the program from now on. */
export function useProgram() {
  changeSetting("engine", "native");
}

/** Before anything is loaded: the engine of the last visit, or of the address that `trice serve --open` opens. */
export function startNative() {
  const asked = new URLSearchParams(location.search).get("engine");
  if (asked === "native" || asked === "browser") changeSetting("engine", asked);
  follow();
  settingsChanged.addEventListener("change", follow);
  byId("open-settings").addEventListener("click", async () => {
    byId("engine-choice").hidden = !(await hasProgram());
  });
}
