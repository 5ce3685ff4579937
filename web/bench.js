// The benchmark in the browser: model, pp, tg and reps from the address; JSON into #result, then the title tells.

import { load } from "./engine.js";
import { byId } from "./dom.js";

const query = new URLSearchParams(location.search);

/** A number of the address; undefined leaves it to the engine. @param {string} name */
function count(name) {
  if (!query.has(name)) return undefined;
  const value = Number(query.get(name));
  if (!Number.isInteger(value) || value < 0) throw new RangeError(`${name} must be a whole number, not ${query.get(name)}`);
  return value;
}

/** @param {string} words */
function show(words) {
  byId("stage").textContent = words;
}

async function run() {
  const options = { prompt: count("pp"), generate: count("tg"), repetitions: count("reps") };
  const model = await load(query.get("model") ?? "builtin:stories", {
    tune: true,
    onProgress: ({ stage, done, total }) => show(`${stage} ${done} of ${total}`),
  });
  const result = await model.bench(options, ({ done, total }) => show(`measuring ${done} of ${total}`));
  await model.dispose();
  return result;
}

try {
  const result = await run();
  show("");
  byId("result").textContent = JSON.stringify(result, null, 2);
  document.title = "done";
} catch (error) {
  byId("result").textContent = JSON.stringify({ error: String(/** @type {any} */ (error)?.message ?? error) });
  document.title = "error";
}
