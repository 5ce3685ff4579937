// The conversations beside the chat: newest first, found by their words, renamed, deleted, taken out and in. On narrow screens a sheet.

import { shortened } from "./conversation.js";
import { byId, el, iconButton, saveFile } from "./dom.js";
import { library } from "./library.js";
import { formatNumber, t } from "./strings.js";
import { showTab } from "./tabs.js";
import { fromJson, toJson, toMarkdown } from "./transfer.js";

/** @typedef {import("./conversation.js").Conversation} Conversation */

/** Where the rail stands beside the page; the same as in chat.css. */
const WIDE = matchMedia("(min-width: 64rem)");
/** Milliseconds in which a deleted conversation can be had back. */
const UNDO_FOR = 15_000;

/** The conversation whose menu is open. @type {Conversation | null} */
let chosen = null;
/** The one that is being renamed. @type {Conversation | null} */
let renamed = null;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let undoEnds;

/** @param {Conversation} conversation */
function open(conversation) {
  showTab("chat");
  library.open(conversation);
  byId("chats-sheet").close();
}

/** Whether the words stand in a title or a turn. @param {Conversation} conversation @param {string} words In small letters. */
function holds({ title, turns }, words) {
  return [title, ...turns.map((turn) => turn.content)].some((text) => text.toLowerCase().includes(words));
}

/** Draws the list anew. */
export function drawRail() {
  const words = byId("chat-search").value.trim().toLowerCase();
  const all = library.list();
  const found = all.filter((conversation) => holds(conversation, words));
  const row = (/** @type {Conversation} */ conversation) => (conversation === renamed ? renameRow(conversation) : chatRow(conversation));
  byId("chat-list").replaceChildren(...found.map(row));
  byId("chats-none").textContent = found.length > 0 ? "" : t(all.length > 0 ? "no_chat_found" : "no_chats");
  byId("chats-lost").hidden = library.isKept;
  byId("export-chats").hidden = all.length === 0;
}

/** @param {Conversation} conversation */
function chatRow(conversation) {
  const isOpen = conversation === library.current;
  const title = el("button", { type: "button", class: "title", "aria-current": isOpen ? "true" : undefined, onclick: () => open(conversation) }, conversation.title);
  const more = iconButton("more", t("more_of", { title: conversation.title }), (event) => openMenu(conversation, /** @type {Element} */ (event.currentTarget)));
  return el("li", {}, title, more);
}

/** @param {Conversation} conversation */
function renameRow(conversation) {
  const field = el("input", { "aria-label": t("rename"), maxlength: 200 });
  field.value = conversation.title;
  /** @param {boolean} isWanted */
  const leave = (isWanted) => {
    if (renamed !== conversation) return;
    renamed = null;
    const title = shortened(field.value, 200);
    if (isWanted && title !== "" && title !== conversation.title) {
      conversation.title = title;
      library.save(conversation);
    } else drawRail();
  };
  field.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter" && !event.isComposing) leave(true);
    if (event.key !== "Escape") return;
    // Neither the answer nor the sheet is meant.
    event.preventDefault();
    event.stopPropagation();
    leave(false);
  });
  field.addEventListener("blur", () => leave(true));
  queueMicrotask(() => field.select());
  return el("li", {}, field);
}

/** @param {Conversation} conversation @param {Element} button */
function openMenu(conversation, button) {
  chosen = conversation;
  const menu = byId("chat-menu");
  menu.showPopover();
  const { left, bottom } = button.getBoundingClientRect();
  menu.style.left = `${Math.max(8, Math.min(left, innerWidth - menu.offsetWidth - 8))}px`;
  menu.style.top = `${Math.max(8, Math.min(bottom + 4, innerHeight - menu.offsetHeight - 8))}px`;
  menu.querySelector("button").focus();
}

/** @param {Conversation} conversation */
function remove(conversation) {
  library.remove(conversation);
  if (conversation === library.current) library.open(library.blank());
  const undo = () => {
    library.restore(conversation);
    open(conversation);
    byId("chats-undo").replaceChildren();
  };
  byId("chats-undo").replaceChildren(
    el("span", {}, t("deleted", { title: shortened(conversation.title, 30) })),
    el("button", { type: "button", class: "link", onclick: undo }, t("undo")),
  );
  clearTimeout(undoEnds);
  undoEnds = setTimeout(() => byId("chats-undo").replaceChildren(), UNDO_FOR);
}

/** @param {string} name @param {string} text @param {string} type */
function saveText(name, text, type) {
  saveFile(name, new Blob([text], { type }));
}

/** A file's name out of a title. @param {string} title */
function fileName(title) {
  return title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 40) || "chat";
}

/** @type {Record<string, (conversation: Conversation) => void>} */
const MENU = {
  "rename-chat": (conversation) => {
    renamed = conversation;
    drawRail();
  },
  "chat-json": (conversation) => saveText(`${fileName(conversation.title)}.json`, toJson([conversation]), "application/json"),
  "chat-markdown": (conversation) => saveText(`${fileName(conversation.title)}.md`, toMarkdown(conversation), "text/markdown"),
  "delete-chat": remove,
};

/** @param {File} file */
async function take(file) {
  const note = byId("chats-note");
  try {
    const n = library.take(fromJson(await file.text()));
    note.textContent = t("chats_taken", { n: formatNumber(n) });
  } catch (error) {
    const message = /** @type {Error} */ (error).message;
    note.replaceChildren(el("span", { class: "failure", role: "alert" }, t("bad_chats", { name: file.name, message })));
  }
}

/** Into the rail, or into the sheet. */
function place() {
  byId(WIDE.matches ? "rail" : "chats-sheet").append(byId("chats"));
  if (WIDE.matches) byId("chats-sheet").close();
}

export function startRail() {
  place();
  WIDE.addEventListener("change", place);
  byId("open-chats").addEventListener("click", () => byId("chats-sheet").showModal());
  byId("new-chat").addEventListener("click", () => {
    open(library.blank());
    byId("message").focus();
  });
  byId("chat-search").addEventListener("input", drawRail);
  for (const [id, action] of Object.entries(MENU)) {
    byId(id).addEventListener("click", () => {
      byId("chat-menu").hidePopover();
      if (chosen) action(chosen);
    });
  }
  byId("export-chats").addEventListener("click", () => saveText("trice-chats.json", toJson(library.list()), "application/json"));
  const input = byId("import-file");
  byId("import-chats").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files[0]) take(input.files[0]);
    input.value = "";
  });
  library.addEventListener("change", drawRail);
  library.addEventListener("open", drawRail);
  drawRail();
}
