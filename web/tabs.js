// Chat and Classify as tabs: which one is shown, by mouse, keyboard and address (#classify).

import { byId } from "./dom.js";

/** @typedef {"chat" | "classify"} Tab */

/** @type {Tab[]} */
const TABS = ["chat", "classify"];

/** @type {Tab} */
let current = "chat";

/** Tells of changes by a "change" event. */
export const tabChanged = new EventTarget();

export function currentTab() {
  return current;
}

/** @param {Tab} tab */
export function showTab(tab) {
  current = tab;
  for (const name of TABS) {
    const button = byId(`tab-${name}`);
    button.setAttribute("aria-selected", String(name === tab));
    button.tabIndex = name === tab ? 0 : -1;
    byId(`panel-${name}`).hidden = name !== tab;
  }
  history.replaceState(null, "", tab === "chat" ? location.pathname + location.search : `#${tab}`);
  tabChanged.dispatchEvent(new Event("change"));
}

export function startTabs() {
  for (const tab of TABS) {
    byId(`tab-${tab}`).addEventListener("click", () => showTab(tab));
    byId(`tab-${tab}`).addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const other = tab === "chat" ? "classify" : "chat";
      showTab(other);
      byId(`tab-${other}`).focus();
    });
  }
  if (location.hash === "#classify") showTab("classify");
}
