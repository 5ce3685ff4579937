// One answer on the page: its thought, its words as they come, and what can be done with it.

import { lengthOf, siblingsOf } from "./conversation.js";
import { byId, copyButton, el, iconButton } from "./dom.js";
import { Markdown, PlainText } from "./markdown.js";
import { drawFollowed } from "./scroll.js";
import { formatDuration, formatNumber, sentence, t } from "./strings.js";

/** @typedef {import("./conversation.js").Conversation} Conversation */
/** @typedef {import("./conversation.js").Turn} Turn */
/**
 * What can be done with the turns of a conversation.
 * @typedef {object} Actions
 * @property {(turn: Turn) => void} show Goes over to a turn that stands in the place of the one shown.
 * @property {(question: Turn, text: string) => void} edit Asks otherwise.
 * @property {(question: string | null) => void} regenerate Answers a question, by its id, once more.
 * @property {(answer: Turn) => void} goOn
 * @property {(answer: Turn) => void} branch
 */

export class AnswerView {
  #conversation;
  #turn;
  #actions;
  #thought = el("div", { class: "plain" });
  #thinking = el("details", { class: "thinking", hidden: true }, el("summary"), this.#thought);
  /** @type {PlainText | Markdown | null} */
  #text = null;
  #place = el("div", { class: "text waiting" });
  #under = el("div", { class: "under" });
  /** The next drawing, while one is due. */
  #frame = 0;
  #nTokens = 0;

  /** @param {Conversation} conversation @param {Turn} turn @param {Actions} actions */
  constructor(conversation, turn, actions) {
    this.#conversation = conversation;
    this.#turn = turn;
    this.#actions = actions;
    this.element = el("div", { class: "answer", role: "article", "aria-label": t("answer") }, this.#thinking, this.#place, this.#under);
  }

  /** The model is not there yet. */
  wait() {
    if (lengthOf(this.#turn) === 0) this.#place.textContent = t("waiting");
    else this.#draw();
  }

  /** Words will come. */
  begin() {
    this.element.classList.add("streaming");
    this.#draw();
  }

  /** The turn has grown. It is drawn with the next frame, however many pieces come until then. @param {number} nTokens */
  grow(nTokens) {
    this.#nTokens += nTokens;
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      drawFollowed(() => this.#draw());
      this.#under.textContent = t("n_tokens", { n: formatNumber(this.#nTokens) });
    });
  }

  /** The turn is whole, or what there will be of it. */
  finish() {
    this.#end();
    this.#draw();
    this.#text?.finish(this.#said());
    this.#under.replaceChildren(...this.#buttons(), el("span", { class: "figures" }, figuresOf(this.#turn)));
  }

  /** Stopped before the first word. */
  stopped() {
    this.#end();
    this.#place.textContent = "";
    this.#under.replaceChildren(this.#again(), el("span", { class: "figures" }, t("stopped")));
  }

  /** @param {any} error */
  fail(error) {
    this.#end();
    if (!this.#text) this.#place.textContent = "";
    const again = el("button", { type: "button", class: "plain", onclick: () => this.#actions.regenerate(this.#turn.parent) }, t("try_again"));
    const choose = el("button", { type: "button", class: "plain", onclick: () => byId("open-models").click() }, t("choose_another"));
    const words = el("p", { class: "failure", role: "alert" }, sentence(error));
    this.#under.replaceChildren(...(lengthOf(this.#turn) === 0 ? [] : [this.#goOn()]), again, choose);
    this.#under.before(words);
  }

  #end() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.element.classList.remove("streaming");
  }

  /** What is shown as the answer: where it answers, without the space that it may begin with. */
  #said() {
    const { content, given } = this.#turn;
    return given === undefined ? content.trimStart() : content;
  }

  #draw() {
    const { thought = "", given } = this.#turn;
    if (!this.#text) {
      this.#text = given === undefined ? new Markdown() : new PlainText(given);
      this.#place.replaceWith(this.#text.element);
    }
    this.#text.show(this.#said());
    this.#thinking.hidden = thought === "";
    this.#thinking.firstElementChild.textContent = t(this.#said() === "" && this.#isStreaming() ? "thinking_now" : "thinking");
    this.#thought.textContent = thought;
  }

  #isStreaming() {
    return this.element.classList.contains("streaming");
  }

  #buttons() {
    const { given = "", finish } = this.#turn;
    const isCut = finish !== "stop";
    return [
      versions(this.#conversation, this.#turn, this.#actions),
      copyButton(t("copy"), () => given + this.#said()),
      this.#again(),
      iconButton("branch", t("branch"), () => this.#actions.branch(this.#turn)),
      ...(isCut ? [this.#goOn()] : []),
    ];
  }

  #goOn() {
    return el("button", { type: "button", class: "link", onclick: () => this.#actions.goOn(this.#turn) }, t("go_on"));
  }

  #again() {
    return iconButton("again", t("regenerate"), () => this.#actions.regenerate(this.#turn.parent), "again");
  }
}

/** ‹ 2/3 ›: the turns in whose place one stands; nothing where it stands alone. @param {Conversation} conversation @param {Turn} turn @param {Actions} actions */
export function versions(conversation, turn, actions) {
  const siblings = siblingsOf(conversation, turn);
  const at = siblings.indexOf(turn);
  if (siblings.length < 2) return "";
  const before = iconButton("before", t("version_before"), () => actions.show(siblings[at - 1]));
  const after = iconButton("after", t("version_after"), () => actions.show(siblings[at + 1]));
  before.disabled = at === 0;
  after.disabled = at === siblings.length - 1;
  return el("span", { class: "versions" }, before, `${formatNumber(at + 1)}/${formatNumber(siblings.length)}`, after);
}

/** @param {Turn} turn */
function figuresOf({ figures, finish }) {
  const parts = [];
  if (figures) {
    const { tokens, perSecond, firstMs } = figures;
    parts.push(t("per_second", { n: formatNumber(perSecond, perSecond < 10 ? 1 : 0) }), t("first_token", { ms: formatDuration(firstMs) }));
    parts.push(t("n_tokens", { n: formatNumber(tokens) }));
  }
  if (finish === "length") parts.push(t("cut_off"));
  else if (finish !== "stop") parts.push(t("stopped"));
  return parts.join(" · ");
}
