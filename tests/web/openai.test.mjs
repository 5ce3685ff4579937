// OpenAI's shapes in a real Chromium: calls of functions, thoughts, log-probabilities, and answers that go on.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { answerText, ask, atMost, filesWithTemplate, finished } from "./answers.mjs";
import { blankPage, newPage, openSite, sharedModel, shoot } from "./browser.mjs";

/** @type {Awaited<ReturnType<typeof openSite>>} */
let site;
before(async () => (site = await openSite()));
after(() => site?.close());

const WEATHER = {
  type: "function",
  function: {
    name: "weather",
    parameters: { type: "object", properties: { city: { enum: ["Bern", "Oslo"] } }, required: ["city"], additionalProperties: false },
  },
};
const NOW = { type: "function", function: { name: "now", parameters: { type: "object", properties: {}, additionalProperties: false } } };

test("functions are called, whole and in a stream", async () => {
  const page = await blankPage(site);
  const result = await page.evaluate(async (tools) => {
    const { load } = await import(new URL("web/engine.js", document.baseURI).href);
    const model = await load("builtin:stories");
    const { create } = model.openai.chat.completions;
    const messages = [{ role: "user", content: "What is the weather?" }];
    const asked = { messages, tools, tool_choice: "required", temperature: 0 };
    const whole = await create(asked);
    const chunks = [];
    for await (const chunk of await create({ ...asked, stream: true })) chunks.push(chunk);
    const named = await create({ ...asked, tool_choice: { type: "function", function: { name: "now" } } });
    // What the call gave goes back as the clients of OpenAI send it.
    const { message } = whole.choices[0];
    const results = message.tool_calls.map(({ id }) => ({ role: "tool", tool_call_id: id, content: "rain" }));
    const after = await create({ messages: [...messages, message, ...results], max_tokens: 2, temperature: 0 });
    const refused = [];
    for (const wrong of [
      { messages, tools },
      { messages, tools, tool_choice: "some" },
      { messages, tools: [tools[0], tools[0]] },
      { messages: [{ role: "clown", content: "?" }] },
      { messages, tools, response_format: { type: "json_object" } },
    ]) {
      refused.push(await create(wrong).catch((error) => `${error.name}: ${error.message}`));
    }
    return { whole, chunks, named, after, refused };
  }, [WEATHER, NOW]);

  const [choice] = result.whole.choices;
  assert.equal(choice.finish_reason, "tool_calls");
  assert.equal(choice.message.content, null);
  assert.equal(choice.message.tool_calls.length, 1);
  const [{ id, type, function: called }] = choice.message.tool_calls;
  assert.match(id, /^[0-9a-f]{9}$/);
  assert.equal(type, "function");
  const wanted = { weather: /^\{"city":"(Bern|Oslo)"\}$/, now: /^\{\}$/ };
  assert.match(called.arguments, wanted[called.name]);
  assert.equal(result.named.choices[0].message.tool_calls[0].function.name, "now");

  const deltas = result.chunks.map(({ choices }) => choices[0].delta);
  assert.deepEqual(deltas[0], { role: "assistant", content: "" });
  const calls = deltas.flatMap((delta) => delta.tool_calls ?? []);
  assert.deepEqual(calls.map(({ index, function: { name, arguments: text } }) => [index, name, text]), [[0, called.name, called.arguments]]);
  const end = result.chunks.at(-1);
  assert.equal(end.choices[0].finish_reason, "tool_calls");
  assert.deepEqual(end.usage.completion_tokens, result.whole.usage.completion_tokens);
  assert.equal(result.after.choices[0].message.role, "assistant");
  for (const [i, words] of [/knows no tools/, /^Invalid: tool_choice must/, /two are named weather/, /messages\[0\]\.role must be/, /beside tools/].entries()) {
    assert.match(result.refused[i], words);
  }
  await page.context().close();
});

test("log-probabilities come with their tokens, whole and in a stream", async () => {
  const page = await blankPage(site);
  const { whole, chunks } = await page.evaluate(async () => {
    const { load } = await import(new URL("web/engine.js", document.baseURI).href);
    const model = await load("builtin:stories");
    const asked = { messages: [{ role: "user", content: "Tell me" }], temperature: 0, max_tokens: 5, logprobs: true, top_logprobs: 2 };
    const chunks = [];
    for await (const chunk of await model.openai.chat.completions.create({ ...asked, stream: true })) chunks.push(chunk);
    return { whole: await model.openai.chat.completions.create(asked), chunks };
  });
  const { content } = whole.choices[0].logprobs;
  assert.equal(content.length, whole.usage.completion_tokens);
  assert.equal(content.map(({ token }) => token).join(""), whole.choices[0].message.content);
  for (const { token, bytes, logprob, top_logprobs } of content) {
    assert.deepEqual([top_logprobs.length, top_logprobs[0].token, top_logprobs[0].logprob], [2, token, logprob]);
    assert.equal(new TextDecoder().decode(new Uint8Array(bytes)), token);
    assert.ok(logprob <= 0);
  }
  assert.deepEqual(chunks.flatMap(({ choices }) => choices[0].logprobs?.content ?? []), content);
  await page.context().close();
});

test("a request means what it means to the server, by `create` and by `fetch`", async () => {
  const page = await blankPage(site);
  const result = await page.evaluate(async () => {
    const { load } = await import(new URL("web/engine.js", document.baseURI).href);
    const { openai } = await load("builtin:stories");
    const question = { role: "user", content: "Tell me about a dog." };
    const say = async (/** @type {any} */ request) => (await openai.chat.completions.create({ messages: [question], ...request })).choices[0].message.content;
    const [seed, max_tokens] = [2 ** 40 + 3, 12];
    const draws = [];
    // Neither null nor absent changes how tokens are drawn, and a seed may have more than 32 bits, or a sign.
    for (const request of [{ seed }, { seed, temperature: null, top_p: null, stop: null, tools: null, response_format: null }]) draws.push(await say({ max_tokens, ...request }));
    const signed = await say({ max_tokens, seed: -1 });
    const whole = await say({ max_tokens, temperature: 0 });
    const begun = await say({ max_tokens: 6, temperature: 0 });
    const messages = [question, { role: "assistant", content: begun }];
    const rest = await say({ messages, max_tokens: 6, temperature: 0, continue_final_message: true });

    const ask = (/** @type {string} */ path, /** @type {any} */ body, signal) =>
      openai.fetch(new URL(path, "https://trice.invalid/v1/"), { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body), signal });
    const statuses = [];
    for (const [path, body] of [["models", {}], ["chat/completions", "no JSON"], ["chat/completions", {}], ["chat/completions", { messages: [question], n: 2 }], ["embeddings", { input: "a" }]]) {
      const answer = await ask(path, body);
      statuses.push([answer.status, (await answer.json()).error.message]);
    }
    statuses.push([(await openai.fetch("https://trice.invalid/v1/models")).status, "GET"]);
    // Who aborts amid a stream hears so, as of any request; who stops reading lets the model go.
    const controller = new AbortController();
    const long = { messages: [question], stream: true, max_tokens: 400 };
    const reader = (await ask("chat/completions", long, controller.signal)).body.getReader();
    await reader.read();
    controller.abort();
    let aborted = "";
    try {
      for (let step = await reader.read(); !step.done; step = await reader.read());
    } catch (error) {
      aborted = error.name;
    }
    await (await ask("chat/completions", long)).body.cancel();
    return { draws, signed, whole, begun, rest, statuses, aborted, after: await say({ max_tokens, temperature: 0 }) };
  });
  assert.equal(result.draws[0], result.draws[1]);
  assert.notEqual(result.draws[0], result.whole);
  assert.ok(result.signed.length > 0);
  assert.equal(result.begun + result.rest, result.whole);
  assert.equal(result.aborted, "AbortError");
  assert.equal(result.after, result.whole);
  const wanted = [[404, /\/v1\/models/], [400, /JSON/], [400, /messages must be/], [400, /^n is not/], [400, /decoder/], [404, /GET/]];
  for (const [i, [status, words]] of wanted.entries()) {
    assert.equal(result.statuses[i][0], status, result.statuses[i][1]);
    assert.match(result.statuses[i][1], /** @type {RegExp} */ (words));
  }
  await page.context().close();
});

/** Thinks first: its template begins the thought. The model never learnt to end one. */
const THINKING = "{% for m in messages %}{{ m.content }} {% endfor %}{% if add_generation_prompt %}<think>\n{% endif %}";

test("a thought is told apart, in the API and on the page", async (t) => {
  const folder = sharedModel("TinyStories-656K");
  if (!folder) return t.skip("no TRICE_SHARED");
  const { page, faults } = await newPage(site);
  await page.goto(site.url);
  await page.locator("#file").setInputFiles(filesWithTemplate(folder, THINKING));
  await page.locator("#model-name", { hasText: "config.json" }).waitFor();
  await page.locator("#stage-words:text('Ready')").waitFor();
  await atMost(page, 6, "0");
  await ask(page, "A cat");
  await finished(page);
  const thought = () => page.locator(".answer details div").textContent();
  const first = await thought();
  assert.ok(first.length > 0);
  assert.equal(await answerText(page), "");
  await page.locator(".answer summary").click();
  await shoot(page, "thought");
  // Gone on with, the thought is what it would have been at once.
  await page.getByRole("button", { name: "Go on" }).click();
  await page.locator(".answer .figures", { hasText: "12 tokens" }).waitFor();
  const longer = await thought();
  assert.ok(longer.startsWith(first) && longer.length > first.length, longer);
  await atMost(page, 12, "0");
  await page.locator(".again").click();
  await page.locator(".answer .versions", { hasText: "2/2" }).waitFor();
  assert.equal(await thought(), longer);
  const [choice, begun] = await page.evaluate(async (thought) => {
    const { slots } = await import(new URL("web/slots.js", document.baseURI).href);
    const model = await slots.chat.ready();
    const question = { role: "user", content: "A cat" };
    const { choices } = await model.openai.chat.completions.create({ messages: [question], max_tokens: 6, temperature: 0 });
    const said = { role: "assistant", content: "Yes", reasoning_content: thought };
    const { prompt_tokens } = await model.generate({ messages: [question, said], goOn: true }, { maxTokens: 1, temperature: 0 });
    return [choices[0], prompt_tokens.length];
  }, first);
  assert.equal(choice.message.reasoning_content, first);
  assert.equal(choice.message.content, "");
  assert.ok(begun > 6);
  // A reload keeps it.
  await page.reload();
  await page.locator(".answer details").waitFor();
  assert.equal(await thought(), longer);
  assert.deepEqual(faults, []);

  await page.context().close();
});
