// The Chat tab: what is typed becomes a question of the open conversation, and the model answers it.

import { AnswerView } from "./answer.js";
import { addTurn, branched, grow, lengthOf, messageOf, messagesFor, removeTurn, showTurn, turnOf } from "./conversation.js";
import { announce, byId, el } from "./dom.js";
import { library } from "./library.js";
import { drawFollowed, scrollToNewest, startScroll } from "./scroll.js";
import { samplingOptions } from "./settings.js";
import { slots } from "./slots.js";
import { t } from "./strings.js";
import { drawThread, editLast } from "./thread.js";

/** @typedef {import("./conversation.js").Conversation} Conversation */
/** @typedef {import("./conversation.js").Turn} Turn */
/** @typedef {import("./engine.js").Generation} Generation */

const slot = slots.chat;

/** The answer under way. @type {{controller: AbortController, conversation: Conversation, turn: Turn, view: AnswerView} | null} */
let work = null;

/** @type {import("./answer.js").Actions} */
const actions = {
  show(turn) {
    showTurn(library.current, turn);
    library.save(library.current);
    draw();
  },
  edit: (question, text) => void ask(question.parent, text),
  regenerate(id) {
    const question = turnOf(library.current, id);
    if (question && !work) answer(question);
  },
  goOn(turn) {
    const question = turnOf(library.current, turn.parent);
    if (question && !work) answer(question, turn);
  },
  branch(turn) {
    const branch = branched(library.current, turn);
    library.save(branch);
    library.open(branch);
    byId("message").focus();
  },
};

/** Sends what is typed. @param {string} text */
function send(text) {
  if (work || text.trim() === "") return;
  byId("message").value = "";
  fitComposer();
  ask(library.current.leaf, text);
}

/** Asks behind a turn. @param {string | null} parent @param {string} text */
async function ask(parent, text) {
  if (work) return;
  await answer(addTurn(library.current, parent, "user", text));
}

/** Answers a question of the open conversation, or goes on with an answer that was cut. @param {Turn} question @param {Turn} [cut] */
async function answer(question, cut) {
  const controller = new AbortController();
  const conversation = library.current;
  const turn = cut ?? addTurn(conversation, question.id, "assistant", "");
  conversation.leaf = turn.id;
  const view = new AnswerView(conversation, turn, actions);
  work = { controller, conversation, turn, view };
  library.save(conversation);
  view.wait();
  draw();
  scrollToNewest();
  /** @type {any} */
  let failure = null;
  try {
    // Before the model is ready, an answer waits for it.
    if (slot.status === "failed") slot.retry();
    const model = await slot.ready(controller.signal);
    const prompt = promptFor(conversation, question, turn);
    view.begin();
    const options = { ...samplingOptions(), parts: true, signal: controller.signal };
    const generation = await model.generate(prompt, options, ({ parts = [], tokens }) => {
      grow(turn, parts);
      view.grow(tokens.length);
      library.saveSoon(conversation);
    });
    end(turn, generation);
  } catch (error) {
    turn.finish = "cancelled";
    if (!controller.signal.aborted) failure = error;
    if (isLost(error)) slot.fail(error);
  }
  work = null;
  // Nothing was written: the question is not answered, and does not go to the model again.
  const isEmpty = lengthOf(turn) === 0 && turn.finish === "cancelled";
  if (isEmpty) removeTurn(conversation, turn);
  if (failure) view.fail(failure);
  else if (isEmpty) view.stopped();
  else drawFollowed(() => view.finish());
  library.saveSoon(conversation);
  library.flush();
  showState();
}

/** @param {Turn} turn @param {Generation} generation */
function end(turn, { tokens, finish_reason, timings }) {
  turn.finish = finish_reason;
  // Of an answer that was gone on with, all tokens count, and the first first one.
  turn.figures = {
    tokens: (turn.figures?.tokens ?? 0) + tokens.length,
    perSecond: timings.decode_tokens_per_s,
    firstMs: turn.figures?.firstMs ?? timings.prefill_ms,
  };
  announce(t("finished"));
}

/** Whether the model goes on with a text instead of answering it. */
function continues() {
  const choice = slot.choice ?? slot.fallback;
  return Boolean(choice.isDemo) || slot.model?.info.has_template === false;
}

/**
 * The conversation down to the question, or the question alone where it is only continued; behind it what there is of the answer.
 * @param {Conversation} conversation
 * @param {Turn} question
 * @param {Turn} turn
 * @returns {import("./engine.js").Prompt}
 */
function promptFor(conversation, question, turn) {
  if (continues()) {
    turn.given = question.content;
    return { prompt: question.content + turn.content, raw: true };
  }
  const messages = messagesFor(conversation, question);
  return lengthOf(turn) === 0 ? { messages } : { messages: [...messages, messageOf(turn)], goOn: true };
}

/** Whether the model must be loaded again. @param {any} error */
function isLost(error) {
  return error?.name === "Crash" || error?.name === "Gpu";
}

function stop() {
  work?.controller.abort(new DOMException("stopped", "AbortError"));
}

/** The open conversation; an answer under way goes on behind another one, and is there again with its own. */
function draw() {
  drawThread(library.current, actions, work);
  showState();
}

/** Buttons and notes that follow what is going on. */
function showState() {
  byId("send").hidden = work !== null;
  byId("stop").hidden = work === null;
  byId("welcome").hidden = library.current.turns.length > 0;
  byId("conversation").classList.toggle("busy", work !== null);
}

/** What to type, by what the model can do. */
function showModel() {
  const choice = slot.choice ?? slot.fallback;
  byId("message").placeholder = t(continues() ? "story_hint" : "message_hint");
  byId("welcome-words").textContent = choice.isDemo ? `${t("welcome_chat")} ${t("demo_note")}` : t("welcome_chat");
  const starters = [1, 2, 3].map((n) => t(`${continues() ? "starter" : "ask"}_${n}`));
  byId("starters").replaceChildren(
    ...starters.map((text) => el("button", { type: "button", onclick: () => send(text) }, text)),
  );
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
  } else if (event.key === "ArrowUp" && field.value === "" && !work && editLast()) {
    event.preventDefault();
  }
}

/** Draws what depends on the language or the model anew. */
export function drawChat() {
  showModel();
  draw();
}

export function startChat() {
  byId("composer").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    send(byId("message").value);
  });
  byId("message").addEventListener("keydown", onKey);
  byId("message").addEventListener("input", fitComposer);
  byId("stop").addEventListener("click", stop);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog:modal, :popover-open")) stop();
  });
  slot.addEventListener("change", showModel);
  library.addEventListener("open", () => {
    draw();
    if (library.current.turns.length > 0) scrollToNewest();
  });
  // What is being edited here is not taken away.
  library.addEventListener("merge", () => document.querySelector(".editing") || drawFollowed(draw));
  library.addEventListener("change", () => work && !library.holds(work.conversation) && stop());
  startScroll();
  library.load();
}
