// What a model thinks before it answers stands between marks in its text.

const BEGIN = "<think>";
const END = "</think>";

/**
 * A text of a model, without the space that it may begin with, as what was thought (null where nothing was) and the answer. Some templates begin the thought themselves: then the text holds
 * its end alone, on a line of its own.
 * @param {string} text
 * @returns {{thought: string | null, answer: string}}
 */
export function splitThought(text) {
  const trimmed = text.trimStart();
  if (trimmed !== "" && trimmed.length < BEGIN.length && BEGIN.startsWith(trimmed)) return { thought: null, answer: "" };
  const isBegun = trimmed.startsWith(BEGIN);
  const rest = isBegun ? trimmed.slice(BEGIN.length) : text;
  const end = isBegun ? rest.indexOf(END) : rest.search(/^<\/think>\s*$/m);
  if (end < 0) return isBegun ? { thought: rest.trim(), answer: "" } : { thought: null, answer: trimmed };
  return { thought: rest.slice(0, end).trim() || null, answer: rest.slice(end + END.length).trimStart() };
}
