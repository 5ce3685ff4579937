// The JavaScript API in a real Chromium: reference tokens and vectors, cancelling, the shapes others know, the benchmark.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { blankPage, builtinReference, loadFolder, newPage, openSite, readReference, sharedModel } from "./browser.mjs";

/** @type {Awaited<ReturnType<typeof openSite>>} */
let site;
before(async () => (site = await openSite()));
after(() => site?.close());

/** @param {number[]} a @param {number[]} b */
function cosine(a, b) {
  const dot = (/** @type {number[]} */ x, /** @type {number[]} */ y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

test("TinyStories-656K from its files gives the reference's greedy tokens", async (t) => {
  const folder = sharedModel("TinyStories-656K");
  if (!folder) return t.skip("no TRICE_SHARED");
  const page = await blankPage(site);
  await loadFolder(page, folder);
  for (const { prompt, prompt_ids, generated_ids } of readReference(folder).cases) {
    const generation = await page.evaluate(
      ({ prompt, maxTokens }) => {
        const { model } = /** @type {any} */ (window);
        return model.generate({ prompt, raw: true }, { temperature: 0, maxTokens });
      },
      { prompt, maxTokens: generated_ids.length },
    );
    assert.deepEqual(generation.prompt_tokens, prompt_ids, prompt);
    assert.deepEqual(generation.tokens, generated_ids, prompt);
  }
  await page.context().close();
});

test("MiniLM from its files gives the reference's vectors", async (t) => {
  const folder = sharedModel("all-MiniLM-L6-v2");
  if (!folder) return t.skip("no TRICE_SHARED");
  const page = await blankPage(site);
  await loadFolder(page, folder);
  const { sentences } = readReference(folder);
  const texts = sentences.map(({ text }) => text);
  const vectors = await page.evaluate((texts) => /** @type {any} */ (window).model.embed(texts, { normalize: true }), texts);
  const cosines = sentences.map(({ embedding }, i) => cosine(embedding, vectors[i]));
  assert.ok(Math.min(...cosines) >= 0.99999, cosines.join(" "));
  await page.context().close();
});

/** A head of `n` labels for vectors of `width` values, all zero: a header of safetensors and its data. @param {number} n @param {number} width */
function emptyHead(n, width) {
  const end = 4 * n * (1 + width);
  const header = JSON.stringify({
    "classifier.bias": { dtype: "F32", shape: [n], data_offsets: [0, 4 * n] },
    "classifier.weight": { dtype: "F32", shape: [n, width], data_offsets: [4 * n, end] },
  }).padEnd(256);
  const bytes = Buffer.alloc(8 + header.length + end);
  bytes.writeBigUInt64LE(BigInt(header.length));
  bytes.write(header, 8);
  return [...bytes];
}

test("a learnt head gives an encoder labels, and one of another width is refused", async (t) => {
  const [folder, heads] = ["all-MiniLM-L6-v2", "minilm-heads"].map(sharedModel);
  if (!folder || !heads) return t.skip("no TRICE_SHARED");
  const page = await blankPage(site);
  await loadFolder(page, folder);
  const head = [...readFileSync(join(heads, "trec6.safetensors"))];
  const found = await page.evaluate(async ({ head, narrow }) => {
    const { load } = await import(new URL("web/engine.js", document.baseURI).href);
    const file = new File([new Uint8Array(head)], "trec6.safetensors");
    const { model } = /** @type {any} */ (window);
    const without = model.info.labels;
    await model.loadHead(file);
    const texts = ["where is the eiffel tower ?", "who wrote hamlet ?", "where is mount fuji ?"];
    const best = (await model.classify(texts)).map((/** @type {any} */ { labels }) => labels[0].label);
    const other = await load("builtin:sentiment");
    const narrowFile = new File([new Uint8Array(narrow)], "narrow.safetensors");
    const error = await other.loadHead(narrowFile).catch((/** @type {any} */ error) => error);
    return { without, labels: model.info.labels, best, error: `${error.name}: ${error.message}`, kept: other.info.labels };
  }, { head, narrow: emptyHead(2, 128) });
  assert.deepEqual([found.without, found.labels.length], [[], 6]);
  assert.ok(found.best[0] === found.best[2] && found.best[0] !== found.best[1], found.best.join(" "));
  assert.match(found.error, /^Format: .*narrow/);
  assert.deepEqual(found.kept, ["NEGATIVE", "POSITIVE"]);
  await page.context().close();
});

test("products of every type of weights are the CPU's", async (t) => {
  const page = await blankPage(site);
  const { checks, steps } = await page.evaluate(async () => {
    const { selfTest } = await import(new URL("web/engine.js", location.href).href);
    /** @type {{done: number, total: number}[]} */
    const steps = [];
    return { checks: await selfTest({ onProgress: (/** @type {any} */ step) => steps.push(step) }), steps };
  });
  const types = new Set(checks.map((/** @type {any} */ checked) => checked.dtype));
  assert.equal(types.size, 16, [...types].join(" "));
  assert.deepEqual(steps.at(-1), { done: 16, total: 16 });
  for (const { dtype, math, n_columns, nmse, is_right } of checks) {
    assert.ok(nmse <= (math === "f32" ? 1e-6 : 1e-5) && is_right, `${dtype} by ${n_columns} columns in ${math}: ${nmse}`);
  }
  const worst = Math.max(...checks.map((/** @type {any} */ checked) => checked.nmse));
  t.diagnostic(`${checks.length} products of ${types.size} types, NMSE to ${worst.toExponential(1)}`);
  await page.context().close();
});

test("a browser without subgroups gives the same tokens", async () => {
  const [, , { prompt, greedy_ids }] = builtinReference("stories").cases;
  for (const has of [true, false]) {
    const page = await blankPage(site);
    // Without the shim wgpu asks for no subgroups, and every kernel takes its twin with barriers.
    if (!has) await page.route("**/web/shim.js", (route) => route.fulfill({ contentType: "text/javascript", body: "" }));
    const { tokens, subgroups } = await page.evaluate(async (prompt) => {
      const { load } = await import(new URL("web/engine.js", document.baseURI).href);
      const model = await load("builtin:stories");
      const { tokens } = await model.generate({ prompt, raw: true }, { temperature: 0, maxTokens: 16 });
      await model.dispose();
      return { tokens, subgroups: model.device.subgroups };
    }, prompt);
    assert.equal(subgroups, has);
    assert.deepEqual(tokens, greedy_ids.slice(0, 16));
    await page.context().close();
  }
});

test("a shader that a driver refuses is named with the driver's words", async () => {
  const page = await blankPage(site);
  await page.route("**/web/shim.js", async (route) => {
    const response = await route.fetch();
    const refuse = (/** @type {any} */ prototype) => {
      const { createComputePipelineAsync } = prototype;
      prototype.createComputePipelineAsync = function (/** @type {{label: string}} */ descriptor) {
        if (descriptor.label === "sample") return Promise.reject(new Error("out of registers"));
        return createComputePipelineAsync.call(this, descriptor);
      };
    };
    await route.fulfill({ response, body: `${await response.text()};(${refuse})(GPUDevice.prototype);` });
  });
  const message = await page.evaluate(async () => {
    const { load } = await import(new URL("web/engine.js", document.baseURI).href);
    return load("builtin:stories").then(() => "loaded", (/** @type {any} */ { name, message }) => `${name}: ${message}`);
  });
  assert.match(message, /^Gpu: .*sample \[.*\]: out of registers/);
  await page.context().close();
});

// What `trice chat random:SPEC --raw -p "Once upon" --temp 0 -n 1 --logprobs 3 --ctx 64 --json` says natively (llvmpipe).
const NATIVE_TOP = {
  "15m:Q4_1": [[10514, -9.060267], [29316, -9.134941], [21806, -9.164662]],
  "110m:Q2_K": [[19409, -8.420227], [30543, -8.444409], [7649, -8.462998]],
  "110m:Q3_K": [[1582, -7.816133], [11915, -8.089231], [29773, -8.300393]],
  "15m:IQ4_NL": [[5775, -9.132625], [14625, -9.152403], [31106, -9.166203]],
  "110m:IQ4_XS": [[3380, -8.251295], [26131, -8.256673], [7353, -8.278376]],
  "15m:MXFP4": [[19878, -9.16169], [11009, -9.167711], [27257, -9.207995]],
};

test("types that no model of the tests has give the probabilities that they give natively", async () => {
  const page = await blankPage(site);
  for (const [spec, wanted] of Object.entries(NATIVE_TOP)) {
    const top = await page.evaluate(async (spec) => {
      const { load } = await import(new URL("web/engine.js", document.baseURI).href);
      const model = await load(`random:${spec}`, { contextLength: 64 });
      const { logprobs } = await model.generate(
        { prompt: "Once upon", raw: true },
        { temperature: 0, maxTokens: 1, logprobs: 3 },
      );
      await model.dispose();
      return logprobs[0].top.map(({ id, logprob }) => [id, logprob]);
    }, spec);
    assert.deepEqual(top.map(([id]) => id), wanted.map(([id]) => id), spec);
    for (const [i, [, logprob]] of top.entries()) {
      assert.ok(Math.abs(logprob - wanted[i][1]) < 1e-3, `${spec}: ${logprob}, ${wanted[i][1]} was wanted`);
    }
  }
  await page.context().close();
});

test("leaving the loop cancels, and the model answers again", async () => {
  const page = await blankPage(site);
  const result = await page.evaluate(async () => {
    const { load } = await import(new URL("web/engine.js", document.baseURI).href);
    const progress = [];
    const model = await load("builtin:stories", { onProgress: (event) => progress.push(event) });
    const pieces = [];
    for await (const piece of model.stream({ prompt: "One day", raw: true }, { seed: 1 })) {
      pieces.push(piece);
      if (pieces.length === 3) break;
    }
    const greedy = { temperature: 0, maxTokens: 12 };
    const whole = await model.generate({ prompt: "One day", raw: true }, greedy);
    let streamed = "";
    for await (const piece of model.stream({ prompt: "One day", raw: true }, greedy)) streamed += piece;
    const aborted = new AbortController();
    aborted.abort();
    const abortName = await load("builtin:stories", { signal: aborted.signal }).catch((error) => error.name);
    const both = await Promise.all([1, 2].map(() => model.generate({ prompt: "One day", raw: true }, greedy)));
    const stats = model.stats();
    await model.dispose();
    const afterwards = await model.generate({ prompt: "x", raw: true }).catch((error) => error.name);
    return { pieces, whole, streamed, progress, abortName, stats, afterwards, both };
  });
  assert.equal(result.pieces.length, 3);
  assert.ok(result.whole.tokens.length > 0 && result.whole.tokens.length <= 12);
  assert.equal(result.streamed, result.whole.text);
  assert.deepEqual(result.both.map(({ tokens }) => tokens), [result.whole.tokens, result.whole.tokens]);
  assert.equal(result.abortName, "AbortError");
  assert.equal(result.afterwards, "Cancelled");
  assert.ok(result.stats.n_params > 0 && result.stats.timings.decode_tokens_per_s > 0);
  const last = result.progress.filter(({ stage }) => stage === "reading").at(-1);
  assert.equal(last.done, last.total);
  await page.context().close();
});

test("a conversation forks, and a long one says what it lost", async () => {
  const page = await blankPage(site);
  const result = await page.evaluate(async () => {
    const { load } = await import(new URL("web/engine.js", document.baseURI).href);
    const model = await load("builtin:stories", { parallel: 2, contextLength: 64 });
    const greedy = { temperature: 0, maxTokens: 5 };
    const first = await model.generate({ prompt: "Once upon a time there was a cat", raw: true }, greedy);
    const shared = [...first.prompt_tokens, ...first.tokens];
    const fork = await model.fork();
    const prompts = [7, 9].map((id) => [...shared, id, id + 1]);
    const ways = [await model.generate({ ids: prompts[0] }, greedy), await fork.generate({ ids: prompts[1] }, greedy)];
    await model.dispose();
    const long = Array.from({ length: 100 }, (_, i) => i + 3);
    const { prompt_tokens, dropped_tokens } = await fork.generate({ ids: long }, { ...greedy, overflow: "truncate-middle" });
    await fork.dispose();
    const afterwards = await fork.generate({ ids: [1] }).catch((error) => error.name);
    const single = await load("builtin:stories");
    await single.generate({ ids: [1] }, greedy);
    const noRoom = await single.fork().catch((error) => `${error.name}: ${error.message}`);
    const fresh = [];
    for (const ids of prompts) fresh.push(await single.generate({ ids }, greedy));
    await single.dispose();
    return { ways, fresh, n: prompt_tokens.length, dropped_tokens, afterwards, noRoom };
  });
  assert.deepEqual(result.ways.map(({ tokens }) => tokens), result.fresh.map(({ tokens }) => tokens));
  // The token that was chosen and not run, and two of the turn.
  assert.deepEqual(result.ways.map(({ timings }) => timings.prefill_tokens), [3, 3]);
  assert.deepEqual([result.n, result.dropped_tokens], [59, 41]);
  assert.equal(result.afterwards, "Cancelled");
  assert.match(result.noRoom, /^Invalid: .*`parallel` of 2/);
  await page.context().close();
});

test("pipelines and errors have the shapes that others know", async () => {
  const page = await blankPage(site);
  const result = await page.evaluate(async () => {
    const { load, pipeline, devices } = await import(new URL("web/engine.js", document.baseURI).href);
    const classify = await pipeline("text-classification");
    const one = await classify("I love it");
    const all = await classify("I love it", { topK: 2 });
    const many = await classify(["I love it", "I hate it"]);
    const compare = await pipeline("zero-shot-classification", classify.model);
    const zeroShot = await compare("I love it", ["love", "money"]);
    const noLabels = await compare("I love it", []).catch((error) => error.name);
    const rank = await pipeline("text-ranking", classify.model);
    const ranked = await rank("I love it", ["I hate it", "I loved it"], { topK: 1, returnDocuments: true });
    const embed = await pipeline("feature-extraction", classify.model);
    const [vector] = await embed("I love it", { normalize: true });
    const wrongKind = await classify.model.generate({ prompt: "x" }).catch((error) => error.name);
    const unknown = await load("builtin:nonsense").catch((error) => error.name);
    const misspelt = await classify.model.embed(["x"], { poling: "mean" }).catch((error) => `${error.name}: ${error.message}`);
    await classify.dispose();
    return { one, all, many, zeroShot, noLabels, ranked, length: Math.hypot(...vector), wrongKind, unknown, misspelt, devices: await devices() };
  });
  assert.equal(result.one.length, 1);
  assert.match(result.one[0].label, /^positive$/i);
  assert.ok(Math.abs(result.all[0].score + result.all[1].score - 1) < 1e-4);
  assert.match(result.many.map(({ label }) => label).join(), /^positive,negative$/i);
  assert.deepEqual(Object.keys(result.zeroShot), ["sequence", "labels", "scores"]);
  assert.equal(result.noLabels, "TypeError");
  assert.deepEqual(result.ranked.map(({ index, text }) => [index, text]), [[1, "I loved it"]]);
  assert.ok(Math.abs(result.length - 1) < 1e-4);
  assert.equal(result.wrongKind, "Unsupported");
  assert.equal(result.unknown, "Invalid");
  assert.match(result.misspelt, /^Invalid: .*poling/);
  assert.equal(result.devices.length, 1);
  await page.context().close();
});

test("entities have JavaScript's places, and long or unknown texts say so", async (t) => {
  const folder = sharedModel("minilm-wnut17");
  if (!folder) return t.skip("no TRICE_SHARED");
  const page = await blankPage(site);
  await loadFolder(page, folder);
  const text = "😀😀 I love Redondo Beach in California";
  const result = await page.evaluate(async (text) => {
    const { model } = /** @type {any} */ (window);
    const { pipeline } = await import(new URL("web/engine.js", document.baseURI).href);
    const tag = await pipeline("token-classification", model);
    const one = await tag(text);
    const many = await tag([text, "nothing here"], { aggregation: "none" });
    const [unknown] = await model.tag(["龘龘龘 Rome"]);
    const [long] = await model.tag(["Rome ".repeat(600)]);
    const [windows] = await model.tag(["Rome ".repeat(600)], { long: "windows" });
    const noHead = await model.fill(["a [MASK]"]).catch((error) => error.name);
    const noModel = await pipeline("question-answering").catch((error) => error.name);
    return { one, many, unknown, long, windows, noHead, noModel };
  }, text);
  assert.deepEqual(result.one.map(({ entity_group, start, end }) => [entity_group, text.slice(start, end)]), [
    ["location", "Redondo Beach"],
    ["location", "California"],
  ]);
  assert.deepEqual(Object.keys(result.one[0]), ["entity_group", "score", "word", "start", "end"]);
  assert.deepEqual(result.many.map((entities) => entities.length > 0), [true, false]);
  assert.deepEqual(Object.keys(result.many[0][0]), ["entity", "score", "index", "word", "start", "end"]);
  assert.ok(result.unknown.unknown_share > 0.2, JSON.stringify(result.unknown));
  assert.equal(result.long.dropped_tokens, 90);
  assert.equal(result.windows.windows, 2);
  assert.equal(result.windows.dropped_tokens, undefined);
  assert.deepEqual([result.noHead, result.noModel], ["Unsupported", "TypeError"]);
  await page.context().close();
});

const PERSON = {
  type: "object",
  properties: {
    name: { type: "string", minLength: 1, maxLength: 12 },
    age: { type: "integer", minimum: 0, maximum: 99 },
    mood: { enum: ["glad", "sad"] },
    code: { type: "string", pattern: "^[A-Z]{2}-[0-9]{1,3}$" },
  },
  required: ["name", "age", "mood", "code"],
  additionalProperties: false,
};

/** What `trice chat --raw -p "Once upon a time" --temp 0 --schema` says natively. */
const NATIVE_PERSON = `{"name": "ne, it's soa", "age": 2, "mood": "sad", "code": "HH-0"}`;

/** @param {string} text */
function checkPerson(text) {
  const { name, age, mood, code, ...rest } = JSON.parse(text);
  assert.deepEqual(rest, {}, text);
  assert.ok([...name].length >= 1 && [...name].length <= 12, text);
  assert.ok(Number.isInteger(age) && age >= 0 && age <= 99, text);
  assert.ok(["glad", "sad"].includes(mood) && /^[A-Z]{2}-[0-9]{1,3}$/.test(code), text);
}

test("answers fit their schema, by a module that is fetched for the first of them", async (t) => {
  const page = await blankPage(site);
  /** @type {string[]} */
  const fetched = [];
  page.context().on("request", (request) => fetched.push(new URL(request.url()).pathname.split("/").at(-1)));
  const ofGrammars = () => fetched.filter((name) => name.startsWith("grammar") && name !== "grammars.js");
  const plain = await page.evaluate(async () => {
    const { load } = await import(new URL("web/engine.js", document.baseURI).href);
    const model = await load("builtin:stories");
    Object.assign(window, { model });
    return model.generate({ prompt: "Once", raw: true }, { maxTokens: 3 });
  });
  assert.equal(plain.tokens.length, 3);
  assert.ok(fetched.includes("trice_bg.wasm"), fetched.join(" "));
  assert.deepEqual(ofGrammars(), []);

  const result = await page.evaluate(async (schema) => {
    const { model } = /** @type {any} */ (window);
    const prompt = { prompt: "Once upon a time", raw: true };
    const answers = [await model.generate(prompt, { temperature: 0, schema })];
    for (const seed of [1, 2, 3]) answers.push(await model.generate(prompt, { temperature: 1, seed, schema }));
    const grammar = 'start: animal " and " animal\nanimal: "a " ("cat" | "dog")';
    const lark = await model.generate(prompt, { temperature: 1, seed: 1, grammar });
    const { create } = model.openai.chat.completions;
    const messages = [{ role: "user", content: "Who are you?" }];
    const formatted = { messages, response_format: { type: "json_schema", json_schema: { name: "person", schema } } };
    const whole = await create(formatted);
    let streamed = "";
    for await (const { choices } of await create({ ...formatted, stream: true })) streamed += choices[0].delta.content ?? "";
    const cut = await create({ messages, response_format: { type: "json_object" }, max_tokens: 3 });
    return { answers, lark, streamed, whole: whole.choices[0], cut: cut.choices[0] };
  }, PERSON);
  for (const { text, finish_reason, timings } of result.answers) {
    checkPerson(text);
    assert.equal(finish_reason, "stop");
    assert.equal(timings.read_backs_per_token, 1);
  }
  assert.equal(result.answers[0].text, NATIVE_PERSON);
  assert.match(result.lark.text, /^a (cat|dog) and a (cat|dog)$/);
  checkPerson(result.whole.message.content);
  checkPerson(result.streamed);
  assert.deepEqual([result.whole.finish_reason, result.cut.finish_reason], ["stop", "length"]);
  assert.match(result.cut.message.content, /^\{/);
  assert.deepEqual(ofGrammars(), ["grammar.js", "grammar_bg.wasm"]);
  t.diagnostic(`${result.answers.length} answers under a schema, such as ${result.answers[1].text}`);
  await page.context().close();
});

test("a grammar that cannot be followed says why, and harms no answer after it", async () => {
  const page = await blankPage(site);
  const result = await page.evaluate(async () => {
    const { load } = await import(new URL("web/engine.js", document.baseURI).href);
    const model = await load("builtin:stories");
    const prompt = { prompt: "Once", raw: true };
    /** @param {object} options */
    const refusal = (options) =>
      model.generate(prompt, { temperature: 0, ...options }).then(({ text }) => text, (error) => `${error.name}: ${error.message}`);
    /** @param {object} response_format */
    const refusedFormat = (response_format) =>
      model.openai.chat.completions.create({ messages: [], response_format }).catch((error) => `${error.name}: ${error.message}`);
    let nested = {};
    for (let i = 0; i < 200; i++) nested = { type: "array", items: nested };
    // Too deep for the module's stack.
    const rules = Array.from({ length: 20_000 }, (_, i) => `r${i}: "a" r${i + 1}`).join("\n");
    const refusals = [
      await refusal({ schema: { type: "thing" } }),
      await refusal({ schema: 3 }),
      await refusal({ schema: nested }),
      await refusal({ grammar: "start: nothing" }),
      await refusal({ schema: {}, grammar: "start: /a/" }),
      await refusal({ schema: {}, stop: "x" }),
      await refusal({ grammar: `start: r0\n${rules}\nr20000: "b"` }),
      await refusedFormat({ type: "yaml" }),
      await refusedFormat({ type: "json_schema", json_schema: { schema: [] } }),
    ];
    const afterwards = await refusal({ grammar: 'start: "a ca" "t"' });
    await model.dispose();
    return { refusals, afterwards };
  });
  const wanted = [
    /^Invalid: the JSON schema cannot be followed: Invalid type: thing$/,
    /^Invalid: the JSON schema cannot be followed: .*schema/,
    /^Invalid: request: recursion limit exceeded/,
    /^Invalid: the grammar cannot be followed: .*unknown name: "nothing"/,
    /^Invalid: schema or grammar is wanted, not both$/,
    /^Invalid: stop texts and ignore_end beside a grammar/,
    /^Invalid: the grammar cannot be followed: ./,
    /^Invalid: response_format.type must be text, json_object or json_schema$/,
    /^Invalid: response_format.json_schema.schema must be an object$/,
  ];
  for (const [i, pattern] of wanted.entries()) assert.match(result.refusals[i], pattern);
  assert.equal(result.afterwards, "a cat");
  await page.context().close();
});

test("a module that cannot be fetched is asked for again", async () => {
  const page = await blankPage(site);
  let isOffline = true;
  await page.context().route("**/pkg/grammar*", (route) => (isOffline ? route.abort() : route.continue()));
  const ask = () =>
    page.evaluate(async () => {
      const { load } = await import(new URL("web/engine.js", document.baseURI).href);
      const holder = /** @type {any} */ (window);
      holder.model ??= await load("builtin:stories");
      const options = { temperature: 0, grammar: 'start: "a cat"' };
      const generated = holder.model.generate({ prompt: "Once", raw: true }, options);
      return generated.then(({ text }) => text, (error) => `${error.name}: ${error.message}`);
    });
  assert.match(await ask(), /^Io: loading the module of grammars: /);
  isOffline = false;
  assert.equal(await ask(), "a cat");
  await page.context().close();
});

test("bench.html leaves the contract's JSON", async () => {
  const { page } = await newPage(site);
  await page.goto(`${site.url}web/bench.html?model=builtin:stories&pp=16&tg=4&reps=1`);
  await page.waitForFunction(() => document.title === "done" || document.title === "error");
  const result = JSON.parse(await page.locator("#result").textContent());
  assert.deepEqual(result.tests?.map(({ name }) => name), ["pp16", "tg4"], JSON.stringify(result));
  for (const { tokens_per_s } of result.tests) assert.ok(tokens_per_s.median > 0);
  await page.goto(`${site.url}web/bench.html?model=builtin:stories&pp=many`);
  await page.waitForFunction(() => document.title === "error");
  assert.match(await page.locator("#result").textContent(), /pp must be a whole number/);
  await page.context().close();
});

test("a token makes few calls of the browser, and none that allocates or writes", async () => {
  const { page } = await newPage(site);
  await page.goto(`${site.url}web/bench.html?model=builtin:stories&pp=0&tg=4&reps=1&calls`);
  await page.waitForFunction(() => document.title === "done" || document.title === "error");
  const result = JSON.parse(await page.locator("#result").textContent());
  const calls = result.calls_per_token;
  const dispatches = result.tests[0].dispatches_per_token;
  console.log(`calls of the browser per token: ${calls.total}, of them ${calls.dispatchWorkgroups} dispatches`);
  assert.equal(calls.dispatchWorkgroups, dispatches);
  for (const name of ["createBuffer", "createBindGroup", "createComputePipeline", "writeBuffer"]) {
    assert.equal(calls[name] ?? 0, 0, `${name} in a decode step`);
  }
  assert.ok(calls.submit <= 1 && calls.beginComputePass <= 1, "one pass and one submit per token at most");
  await page.context().close();
});
