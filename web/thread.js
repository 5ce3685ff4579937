// The turns that are shown of a conversation, one under the other.

import { AnswerView, versions } from "./answer.js";
import { pathOf } from "./conversation.js";
import { byId, copyButton, el, iconButton } from "./dom.js";
import { visible } from "./nodes.js";
import { t } from "./strings.js";

/** @typedef {import("./answer.js").Actions} Actions */
/** @typedef {import("./conversation.js").Conversation} Conversation */
/** @typedef {import("./conversation.js").Turn} Turn */

/**
 * Draws a conversation anew.
 * @param {Conversation} conversation
 * @param {Actions} actions
 * @param {{turn: Turn, view: AnswerView} | null} live The answer that is being written.
 */
export function drawThread(conversation, actions, live) {
  const path = pathOf(conversation);
  const elements = path.map((turn) => {
    if (turn === live?.turn) return live.view.element;
    return turn.role === "user" ? questionElement(conversation, turn, actions) : answerElement(conversation, turn, actions);
  });
  const last = path.at(-1);
  if (last?.role === "user") elements.push(unanswered(last, actions));
  byId("conversation").replaceChildren(...elements);
}

/** Opens the last question for editing; false where there is none. */
export function editLast() {
  const edit = [...byId("conversation").querySelectorAll("button.edit")].at(-1);
  edit?.click();
  return edit !== undefined;
}

/** @param {Conversation} conversation @param {Turn} turn @param {Actions} actions */
function answerElement(conversation, turn, actions) {
  const view = new AnswerView(conversation, turn, actions);
  view.finish();
  return view.element;
}

/** A question that failed, or whose page went away before the first word. @param {Turn} question @param {Actions} actions */
function unanswered(question, actions) {
  const again = el("button", { type: "button", class: "plain", onclick: () => actions.regenerate(question.id) }, t("try_again"));
  return el("div", { class: "answer" }, el("div", { class: "under" }, again));
}

/** @param {Conversation} conversation @param {Turn} turn @param {Actions} actions */
function questionElement(conversation, turn, actions) {
  const text = el("div", { class: "user" }, visible(turn.content));
  const under = el("div", { class: "under" });
  const element = el("div", { class: "question", role: "article", "aria-label": t("you") }, text, under);
  const edit = iconButton("edit", t("edit"), () => element.replaceChildren(editor()), "edit");
  const editor = () => editForm(turn, actions, () => {
    element.replaceChildren(text, under);
    edit.focus();
  });
  under.append(copyButton(t("copy"), () => turn.content), edit, versions(conversation, turn, actions));
  return element;
}

/** @param {Turn} turn @param {Actions} actions @param {() => void} leave */
function editForm(turn, actions, leave) {
  const field = el("textarea", { "aria-label": t("edit"), rows: 3, maxlength: 200000 });
  field.value = turn.content;
  const send = () => field.value.trim() !== "" && actions.edit(turn, field.value);
  field.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      leave();
    }
  });
  const buttons = el(
    "div",
    { class: "ways" },
    el("button", { type: "button", class: "main", onclick: send }, t("send")),
    el("button", { type: "button", class: "plain", onclick: leave }, t("cancel")),
  );
  queueMicrotask(() => field.focus());
  return el("div", { class: "editing" }, field, buttons);
}
