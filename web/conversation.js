// A conversation: a tree of turns, of which one way from the first question down is shown. Asking again, or asking otherwise, makes
// a turn beside another. Data only: no page, no store.

/** How fast an answer came. @typedef {{tokens: number, perSecond: number, firstMs: number}} Figures */
/**
 * @typedef {object} Turn
 * @property {string} id
 * @property {string | null} parent The turn it follows; null of a first question.
 * @property {"user" | "assistant"} role
 * @property {string} content
 * @property {string} [thought] What an answer's model thought first.
 * @property {string} [given] The text that the answer continues, where the model only continues.
 * @property {"stop" | "length" | "cancelled" | null} [finish] Why an answer ended; null while it is being written, or was when the page went away.
 * @property {Figures} [figures]
 */
/**
 * @typedef {object} Conversation
 * @property {string} id
 * @property {string} title Empty until the first question.
 * @property {string} system The system prompt.
 * @property {number} changed Milliseconds since 1970.
 * @property {Turn[]} turns In the order in which they were made.
 * @property {string | null} leaf The last turn that is shown.
 */

/** Characters of a title that a question gives. */
const MAX_TITLE = 60;

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} system @returns {Conversation} */
export function newConversation(system) {
  return { id: newId(), title: "", system, changed: Date.now(), turns: [], leaf: null };
}

/** The beginning of a text, on one line. @param {string} text */
export function shortened(text, most = MAX_TITLE) {
  const line = text.trim().replace(/\s+/g, " ");
  const characters = [...line];
  return characters.length <= most ? line : `${characters.slice(0, most - 1).join("").trimEnd()}…`;
}

/**
 * Adds a turn and shows it.
 * @param {Conversation} conversation
 * @param {string | null} parent
 * @param {Turn["role"]} role
 * @param {string} content
 * @returns {Turn}
 */
export function addTurn(conversation, parent, role, content) {
  /** @type {Turn} */
  const turn = { id: newId(), parent, role, content };
  if (role === "assistant") turn.finish = null;
  else conversation.title ||= shortened(content);
  conversation.turns.push(turn);
  conversation.leaf = turn.id;
  return turn;
}

/** Takes back a turn that nothing follows. @param {Conversation} conversation @param {Turn} turn */
export function removeTurn(conversation, turn) {
  conversation.turns = conversation.turns.filter((other) => other !== turn);
  if (conversation.leaf === turn.id) conversation.leaf = turn.parent;
}

/** @param {Conversation} conversation @param {string | null} id */
export function turnOf({ turns }, id) {
  return turns.find((turn) => turn.id === id);
}

/** The turns that are shown, or those down to `leaf`. @param {Conversation} conversation */
export function pathOf(conversation, leaf = conversation.leaf) {
  /** @type {Turn[]} */
  const path = [];
  for (let turn = turnOf(conversation, leaf); turn; turn = turnOf(conversation, turn.parent)) path.unshift(turn);
  return path;
}

/** The turns in whose place a turn stands, itself among them. @param {Conversation} conversation @param {Turn} turn */
export function siblingsOf({ turns }, { parent, role }) {
  return turns.filter((other) => other.parent === parent && other.role === role);
}

/** Shows a turn and the newest of what follows it. @param {Conversation} conversation @param {Turn} turn */
export function showTurn(conversation, turn) {
  /** @type {Turn | undefined} */
  let last = turn;
  while (last) {
    conversation.leaf = last.id;
    last = conversation.turns.findLast((other) => other.parent === conversation.leaf);
  }
}

/** A conversation that begins with the turns down to this one. @param {Conversation} conversation @param {Turn} turn @returns {Conversation} */
export function branched(conversation, turn) {
  const turns = pathOf(conversation, turn.id).map((turn) => ({ ...turn }));
  return { ...newConversation(conversation.system), title: conversation.title, turns, leaf: turn.id };
}

/**
 * What a model is given to answer the question `asked`: the turns before it that were answered, and itself.
 * @param {Conversation} conversation
 * @param {Turn} asked
 * @returns {import("./engine.js").Message[]}
 */
export function messagesFor(conversation, asked) {
  const path = pathOf(conversation, asked.id);
  const told = path.filter((turn, i) => turn === asked || turn.role === "assistant" || path[i + 1]?.role === "assistant");
  const messages = told.map(messageOf);
  return conversation.system ? [{ role: "system", content: conversation.system }, ...messages] : messages;
}

/** As a model is told of it. @param {Turn} turn @returns {import("./engine.js").Message} */
export function messageOf({ role, content, thought }) {
  return role === "user" ? { role, content } : { role, content, reasoning_content: thought };
}

/** Lets an answer grow by what a piece of it adds. @param {Turn} turn @param {import("./engine.js").ReplyPart[]} parts */
export function grow(turn, parts) {
  for (const part of parts) {
    if ("reasoning" in part) turn.thought = (turn.thought ?? "") + part.reasoning;
    else if ("content" in part) turn.content += part.content;
  }
}

/** Characters of what a turn thought and said. @param {Turn} turn */
export function lengthOf({ content, thought = "" }) {
  return thought.length + content.length;
}

/**
 * Takes over what another tab has of the same conversation, and tells whether this one has turns that it lacks.
 * @param {Conversation} ours
 * @param {Conversation} theirs
 */
export function merge(ours, theirs) {
  const isNewer = theirs.changed > ours.changed;
  if (isNewer) Object.assign(ours, { title: theirs.title, system: theirs.system, changed: theirs.changed });
  for (const turn of theirs.turns) {
    const own = turnOf(ours, turn.id);
    if (!own) ours.turns.push(turn);
    // Turns only grow.
    else if (lengthOf(turn) > lengthOf(own)) Object.assign(own, turn);
  }
  return ours.turns.some((turn) => !turnOf(theirs, turn.id));
}
