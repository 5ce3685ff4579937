// The benchmark in the browser: model, pp, tg and reps from the address; JSON into #result, then the title tells.

import { load } from "./engine.js";
import { byId } from "./dom.js";

const query = new URLSearchParams(location.search);

/** @param {string} name @param {number} otherwise */
function count(name, otherwise) {
  const value = Number(query.get(name) ?? otherwise);
  if (!Number.isInteger(value) || value < 0) throw new RangeError(`${name} must be a whole number, not ${query.get(name)}`);
  return value;
}

async function run() {
  const options = { prompt: count("pp", 512), generate: count("tg", 128), repetitions: count("reps", 5) };
  const model = await load(query.get("model") ?? "builtin:stories", {
    onProgress: ({ stage, done, total }) => (byId("stage").textContent = `${stage} ${done} of ${total}`),
  });
  byId("stage").textContent = "measuring";
  const result = await model.bench(options);
  await model.dispose();
  return result;
}

try {
  const result = await run();
  byId("stage").textContent = "";
  byId("result").textContent = JSON.stringify(result, null, 2);
  document.title = "done";
} catch (error) {
  byId("result").textContent = JSON.stringify({ error: String(/** @type {any} */ (error)?.message ?? error) });
  document.title = "error";
}
