// The benchmark in the browser: model, pp, tg, batch (texts at once, of an encoder), reps and a hub's endpoint from the
// address, with calls also the calls of the browser per token; JSON into #result, then the title tells.

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

/** Calls of the browser per generated token: what a longer answer makes more than a shorter one. @param {any} model */
async function callsPerToken(model) {
  /** @param {number} maxTokens */
  const made = async (maxTokens) => {
    const before = await model.calls();
    const { tokens } = await model.generate({ prompt: "Once upon a time", raw: true }, { maxTokens, temperature: 0 });
    const after = await model.calls();
    return { tokens: tokens.length, of: (/** @type {string} */ name) => (after[name] ?? 0) - (before[name] ?? 0) };
  };
  await made(8);
  const [short, long] = [await made(8), await made(40)];
  const perToken = Object.keys(await model.calls())
    .map((name) => ({ name, n: (long.of(name) - short.of(name)) / (long.tokens - short.tokens) }))
    .filter(({ n }) => n !== 0)
    .sort((a, b) => b.n - a.n);
  const total = perToken.reduce((sum, { n }) => sum + n, 0);
  return { total, ...Object.fromEntries(perToken.map(({ name, n }) => [name, n])) };
}

async function run() {
  const options = { prompt: count("pp"), generate: count("tg"), batch: count("batch"), repetitions: count("reps") };
  const counts = query.has("calls");
  const model = await load(query.get("model") ?? "builtin:stories", {
    tune: true,
    counts,
    endpoint: query.get("endpoint") ?? undefined,
    onProgress: ({ stage, done, total }) => show(`${stage} ${done} of ${total}`),
  });
  const result = await model.bench(options, ({ done, total }) => show(`measuring ${done} of ${total}`));
  const calls = counts ? { calls_per_token: await callsPerToken(model) } : {};
  await model.dispose();
  return { ...result, ...calls };
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
