// Conversations as files: JSON that can be read in again, and Markdown to read.

import { pathOf } from "./conversation.js";
import { t } from "./strings.js";

/** @typedef {import("./conversation.js").Conversation} Conversation */

const FORMAT = "trice-conversations";

/** @param {Conversation[]} conversations */
export function toJson(conversations) {
  return JSON.stringify({ format: FORMAT, version: 1, conversations }, null, 1);
}

/** The turns that are shown. @param {Conversation} conversation */
export function toMarkdown(conversation) {
  const parts = [`# ${conversation.title}`];
  if (conversation.system) parts.push(`> ${conversation.system.replaceAll("\n", "\n> ")}`);
  for (const { role, content, given = "" } of pathOf(conversation)) {
    parts.push(`## ${t(role === "user" ? "you" : "answer")}`, role === "user" ? content : (given + content).trimStart());
  }
  return `${parts.join("\n\n")}\n`;
}

/**
 * The conversations of a file that `toJson` made.
 * @param {string} text
 * @returns {Conversation[]}
 */
export function fromJson(text) {
  /** @type {any} */
  let file;
  try {
    file = JSON.parse(text);
  } catch (error) {
    throw new Error(`no JSON: ${/** @type {Error} */ (error).message}`);
  }
  if (file?.format !== FORMAT) throw new Error(`"format" should be "${FORMAT}", not ${JSON.stringify(file?.format)}`);
  if (file.version !== 1) throw new Error(`"version" should be 1, not ${JSON.stringify(file.version)}`);
  if (!Array.isArray(file.conversations)) throw new Error('"conversations" should be a list');
  return file.conversations.map(conversationOf);
}

/** @param {any} value @param {number} index @returns {Conversation} */
function conversationOf(value, index) {
  const place = `conversation ${index + 1}`;
  for (const name of ["id", "title", "system"]) expect(value?.[name], "string", `${place}, "${name}"`);
  expect(value.changed, "number", `${place}, "changed"`);
  if (!Array.isArray(value.turns)) throw new Error(`${place}, "turns" should be a list`);
  const known = new Set();
  const turns = value.turns.map((/** @type {any} */ turn, /** @type {number} */ i) => turnOf(turn, `${place}, turn ${i + 1}`, known));
  if (turns.length > 0 && !known.has(value.leaf)) throw new Error(`${place}, "leaf" should be the id of a turn`);
  const { id, title, system, changed } = value;
  return { id, title, system, changed, turns, leaf: turns.length > 0 ? value.leaf : null };
}

/** A turn that follows one of those `known`, so that no way goes in a circle. @param {any} value @param {string} place @param {Set<string>} known */
function turnOf(value, place, known) {
  for (const name of ["id", "content"]) expect(value?.[name], "string", `${place}, "${name}"`);
  const { id, parent, role, content, thought, given, finish = null, figures } = value;
  if (role !== "user" && role !== "assistant") throw new Error(`${place}, "role" should be "user" or "assistant", not ${JSON.stringify(role)}`);
  if (parent !== null && !known.has(parent)) throw new Error(`${place}, "parent" should be the id of a turn before it, or null`);
  if (known.has(id)) throw new Error(`${place} has the id of another turn`);
  known.add(id);
  if (role === "user") return { id, parent, role, content };
  for (const name of ["thought", "given"]) if (value[name] !== undefined) expect(value[name], "string", `${place}, "${name}"`);
  const isMeasured = ["tokens", "perSecond", "firstMs"].every((name) => typeof figures?.[name] === "number");
  return { id, parent, role, content, thought, given, finish, figures: isMeasured ? figures : undefined };
}

/** @param {any} value @param {string} type @param {string} what */
function expect(value, type, what) {
  if (typeof value !== type) throw new Error(`${what} should be a ${type}, not ${JSON.stringify(value)}`);
}
