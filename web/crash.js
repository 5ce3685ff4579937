// A mark in this browser while a model loads: a page that the system ends, mostly for lack of memory, can say nothing any more.

const KEY = "trice.loading";

/** @typedef {{source: string, name: string, contextLength?: number}} Mark What was being loaded. */

/** Lets go of the lock that says the page of the mark is alive. */
let letGo = () => {};

/** Sets the mark; another visit finds it unless `unmark` comes before. @param {Mark} mark */
export function mark({ source, name, contextLength }) {
  unmark();
  try {
    localStorage.setItem(KEY, JSON.stringify({ source, name, contextLength }));
  } catch {
    return; // A browser that keeps nothing cannot remember this either.
  }
  navigator.locks?.request(KEY, () => new Promise((resolve) => (letGo = () => resolve(undefined))));
}

/** Loaded, refused, or left by the person: no crash. */
export function unmark() {
  letGo();
  letGo = () => {};
  try {
    localStorage.removeItem(KEY);
  } catch {}
}

/** What was loading when a page of this browser ended without a word, told once. @returns {Promise<Mark | null>} */
export async function lastCrash() {
  try {
    const text = localStorage.getItem(KEY);
    const { held = [] } = (await navigator.locks?.query()) ?? {};
    // The page of the mark is another tab, and alive.
    if (text === null || held.some(({ name }) => name === KEY)) return null;
    localStorage.removeItem(KEY);
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Watches for pages that are closed or reloaded on purpose. */
export function watchLeaving() {
  addEventListener("pagehide", unmark);
}
