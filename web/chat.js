// The Chat tab: a conversation, the answer that streams, and what can be done with it.

import { announce, byId, copyButton, el, icon } from "./dom.js";
import { samplingOptions, settings } from "./settings.js";
import { slots } from "./slots.js";
import { formatDuration, formatNumber, sentence, t } from "./strings.js";

/** @typedef {import("./engine.js").Message} Message */
/** @typedef {import("./engine.js").Generation} Generation */

const slot = slots.chat;

/** The turns that are answered. @type {Message[]} */
let messages = [];
/** What was asked last: in `messages` once it is answered, so that no failed question goes to the model again. @type {Message | null} */
let question = null;
/** The answer under way. @type {AbortController | null} */
let answering = null;

/** Sends what is typed; before the model is ready it waits for it. @param {string} text */
async function send(text) {
  if (answering || text.trim() === "") return;
  byId("message").value = "";
  fitComposer();
  question = { role: "user", content: text };
  byId("conversation").append(el("div", { class: "user", role: "article", "aria-label": t("you") }, text));
  await answer(question);
}

/** Answers a question. @param {Message} asked */
async function answer(asked) {
  const controller = new AbortController();
  answering = controller;
  showState();
  const view = new AnswerView();
  byId("conversation").append(view.element);
  scrollToNewest();
  try {
    if (slot.status === "failed") slot.retry();
    const model = await slot.ready(controller.signal);
    const prompt = promptOf(asked);
    view.begin(prompt.prompt ?? "");
    const options = { ...samplingOptions(), signal: controller.signal };
    const generation = await model.generate(prompt, options, (piece) => view.add(piece));
    // Stopped before the first word: not answered.
    const isAnswered = generation.finish_reason !== "cancelled" || generation.text !== "";
    if (isAnswered) messages.push(asked, { role: "assistant", content: generation.text });
    view.finish(generation);
    announce(t("finished"));
  } catch (error) {
    // Stopped while it waited for the model: nothing was generated.
    if (controller.signal.aborted) view.stopped();
    else view.fail(error);
    if (isLost(error)) slot.fail(error);
  } finally {
    answering = null;
    showState();
  }
}

/** Whether the model goes on with a text instead of answering it. */
function continues() {
  const choice = slot.choice ?? slot.fallback;
  return Boolean(choice.isDemo) || slot.model?.info.has_template === false;
}

/**
 * The conversation with the question, or the question alone where it is only continued.
 * @param {Message} asked
 * @returns {import("./engine.js").Prompt}
 */
function promptOf(asked) {
  if (continues()) return { prompt: asked.content, raw: true };
  /** @type {Message[]} */
  const system = settings.system ? [{ role: "system", content: settings.system }] : [];
  return { messages: [...system, ...messages, asked] };
}

/** Whether the model must be loaded again. @param {any} error */
function isLost(error) {
  return error?.name === "Crash" || error?.name === "Gpu";
}

async function regenerate() {
  if (answering || !question) return;
  if (messages.at(-2) === question) messages.splice(-2);
  byId("conversation").lastElementChild?.remove();
  await answer(question);
}

function stop() {
  answering?.abort(new DOMException("stopped", "AbortError"));
}

/** One answer on the page. */
class AnswerView {
  #given = document.createTextNode("");
  #text = document.createTextNode("");
  #content = el("div", { class: "text waiting" }, t("waiting"));
  #under = el("div", { class: "under" });
  #tokens = 0;

  constructor() {
    this.element = el("div", { class: "answer", role: "article", "aria-label": t("answer") }, this.#content, this.#under);
  }

  /** The model is there: words will come, after those that are continued. @param {string} given */
  begin(given) {
    this.#given.data = given;
    this.#content.classList.remove("waiting");
    this.#content.replaceChildren(el("span", { class: "given" }, this.#given), this.#text);
    this.element.classList.add("streaming");
  }

  /** @param {import("./engine.js").Piece} piece */
  add({ text, tokens }) {
    const follow = isAtEnd();
    this.#tokens += tokens.length;
    const isFirst = this.#given.length + this.#text.length === 0;
    this.#text.appendData(isFirst ? text.trimStart() : text);
    this.#under.textContent = t("n_tokens", { n: formatNumber(this.#tokens) });
    if (follow) scrollToNewest();
    else showNewest();
  }

  /** @param {Generation} generation */
  finish(generation) {
    this.element.classList.remove("streaming");
    const figures = el("span", { class: "figures" }, figuresOf(generation));
    this.#under.replaceChildren(copyButton(t("copy"), () => this.#given.data + this.#text.data), againButton(), figures);
  }

  stopped() {
    this.element.classList.remove("streaming");
    this.#content.replaceChildren();
    this.#under.replaceChildren(againButton(), el("span", { class: "figures" }, t("stopped")));
  }

  /** @param {any} error */
  fail(error) {
    this.element.classList.remove("streaming");
    const again = el("button", { type: "button", class: "plain", onclick: regenerate }, t("try_again"));
    const choose = el("button", { type: "button", class: "plain", onclick: () => byId("open-models").click() }, t("choose_another"));
    if (this.#content.classList.contains("waiting")) this.#content.replaceChildren();
    this.#content.append(el("p", { class: "failure", role: "alert" }, sentence(error)));
    this.#under.replaceChildren(again, choose);
  }
}

function againButton() {
  const label = t("regenerate");
  return el("button", { type: "button", class: "quiet again", "aria-label": label, title: label, onclick: regenerate }, icon("again"));
}

/** @param {Generation} generation */
function figuresOf({ tokens, finish_reason, timings }) {
  const parts = [
    t("per_second", { n: formatNumber(timings.decode_tokens_per_s, timings.decode_tokens_per_s < 10 ? 1 : 0) }),
    t("first_token", { ms: formatDuration(timings.prefill_ms) }),
    t("n_tokens", { n: formatNumber(tokens.length) }),
  ];
  if (finish_reason === "cancelled") parts.push(t("stopped"));
  if (finish_reason === "length") parts.push(t("cut_off"));
  return parts.join(" · ");
}

/** Within a line of the end: the reader follows along. */
function isAtEnd() {
  return document.documentElement.scrollHeight - innerHeight - scrollY < 60;
}

function scrollToNewest() {
  scrollTo({ top: document.documentElement.scrollHeight });
  byId("to-newest").hidden = true;
}

function showNewest() {
  byId("to-newest").hidden = isAtEnd();
}

/** Buttons and notes that follow what is going on. */
function showState() {
  byId("send").hidden = answering !== null;
  byId("stop").hidden = answering === null;
  byId("welcome").hidden = question !== null;
  byId("new-chat").hidden = question === null;
  byId("new-chat").disabled = answering !== null;
}

/** What to type, by what the model can do. */
function showModel() {
  const choice = slot.choice ?? slot.fallback;
  const hint = t(continues() ? "story_hint" : "message_hint");
  byId("message").placeholder = hint;
  byId("welcome-words").textContent = choice.isDemo ? `${t("welcome_chat")} ${t("demo_note")}` : t("welcome_chat");
  const starters = [1, 2, 3].map((n) => t(`${continues() ? "starter" : "ask"}_${n}`));
  byId("starters").replaceChildren(
    ...starters.map((text) => el("button", { type: "button", onclick: () => send(text) }, text)),
  );
}

function newChat() {
  messages = [];
  question = null;
  byId("conversation").replaceChildren();
  showState();
  byId("message").focus();
}

/** The composer is as tall as its text, up to what the style sheet allows. */
function fitComposer() {
  const field = byId("message");
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  const field = byId("message");
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send(field.value);
  } else if (event.key === "ArrowUp" && field.value === "") {
    if (!question) return;
    event.preventDefault();
    field.value = question.content;
    fitComposer();
  }
}

/** Draws what depends on the language or the model anew. */
export function drawChat() {
  showModel();
  showState();
}

export function startChat() {
  byId("composer").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    send(byId("message").value);
  });
  byId("message").addEventListener("keydown", onKey);
  byId("message").addEventListener("input", fitComposer);
  byId("stop").addEventListener("click", stop);
  byId("new-chat").addEventListener("click", newChat);
  byId("to-newest").addEventListener("click", scrollToNewest);
  addEventListener("scroll", () => isAtEnd() && (byId("to-newest").hidden = true), { passive: true });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) stop();
  });
  slot.addEventListener("change", showModel);
  drawChat();
}
