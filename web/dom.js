// Small helpers over the DOM. Data enters as text only.

/**
 * The element with this id, which index.html holds.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element #${id}`);
  return element;
}

/**
 * Makes an element. Properties starting with "on" are listeners; the rest are attributes (false and undefined leave them out).
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...(Node | string | null | undefined)} children
 * @returns {any}
 */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Outlines on a 24 px grid, drawn with 1.5 px strokes. @type {Record<string, string>} */
const ICONS = {
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7 7h10v10H7z",
  copy: "M9 9h10v10H9zM5 15V5h10",
  done: "M5 13l4 4L19 7",
  again: "M20 5v5h-5M19.5 10A8 8 0 1 0 20 14",
  close: "M6 6l12 12M18 6L6 18",
  plus: "M12 5v14M5 12h14",
  tune: "M4 8h16M4 16h16M15.5 5v6M8.5 13v6",
  down: "M12 5v14M6 13l6 6 6-6",
  chevron: "M7 10l5 5 5-5",
  before: "M14 7l-5 5 5 5",
  after: "M10 7l5 5-5 5",
  edit: "M5 19h3.5L19 8.5 15.5 5 5 15.5zM13 7.5l3.5 3.5",
  branch: "M7 5v14M7 15c0-4 10-2 10-7M14.5 8L17 5.5 19.5 8",
  more: "M6 12h.01M12 12h.01M18 12h.01",
  list: "M4 7h16M4 12h16M4 17h10",
};

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** Fills the empty icon places of index.html: `<button data-icon="send">`. */
export function placeIcons() {
  for (const element of document.querySelectorAll("[data-icon]")) {
    element.prepend(icon(/** @type {HTMLElement} */ (element).dataset.icon ?? ""));
  }
}

/** Says something to screen readers, sparingly. @param {string} text */
export function announce(text) {
  byId("live").textContent = text;
}

/**
 * A button that shows an outline alone.
 * @param {string} name
 * @param {string} label
 * @param {(event: MouseEvent) => void} onclick
 * @param {string} [kind] A further class.
 */
export function iconButton(name, label, onclick, kind = "") {
  return el("button", { type: "button", class: `quiet ${kind}`.trimEnd(), "aria-label": label, title: label, onclick }, icon(name));
}

/**
 * A button that copies and shows that it did.
 * @param {string} label
 * @param {() => string} text
 */
export function copyButton(label, text) {
  const button = iconButton("copy", label, async () => {
    await navigator.clipboard.writeText(text());
    button.replaceChildren(icon("done"));
    setTimeout(() => button.replaceChildren(icon("copy")), 1500);
  });
  return button;
}

/** Gives a person a file. @param {string} name @param {Blob} blob */
export function saveFile(name, blob) {
  const address = URL.createObjectURL(blob);
  el("a", { href: address, download: name }).click();
  // The download has taken the blob by then.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
