// What the official `openai` client for Node makes of our server; `ask.py` tells how it is asked.
//
//     npm ci --prefix tests/clients
//     node tests/clients/ask.mjs http://127.0.0.1:8080 [KEY]

import assert from "node:assert/strict";
import OpenAI from "openai";

const STORY = [{ role: "user", content: "Tell me a story about a dog." }];
const WEATHER = {
  type: "function",
  function: {
    name: "weather",
    description: "The weather of a city",
    parameters: {
      type: "object",
      properties: { city: { $ref: "#/$defs/city" }, days: { type: "integer", minimum: 1, maximum: 9 } },
      required: ["city", "days"],
      additionalProperties: false,
      $defs: { city: { enum: ["Zürich", "Bern"] } },
    },
  },
};
const NOW = { type: "function", function: { name: "now", parameters: { type: "object", properties: {}, additionalProperties: false } } };
const SCHEMA = {
  type: "object",
  properties: { color: { enum: ["red", "blue"] }, size: { type: "integer", minimum: 1, maximum: 20 } },
  required: ["color", "size"],
  additionalProperties: false,
};
const GREEDY = { model: "builtin:stories", temperature: 0, max_tokens: 24 };

const checks = {
  async chat(client) {
    const answer = await client.chat.completions.create({ messages: STORY, ...GREEDY });
    assert.ok(answer.choices[0].message.content);
    assert.equal(answer.choices[0].finish_reason, "length");
    assert.equal(answer.usage.completion_tokens, 24);
  },

  async stream(client) {
    const whole = await client.chat.completions.create({ messages: STORY, ...GREEDY });
    const chunks = [];
    const options = { messages: STORY, stream: true, stream_options: { include_usage: true }, ...GREEDY };
    for await (const chunk of await client.chat.completions.create(options)) chunks.push(chunk);
    const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(chunks.at(-1).usage.completion_tokens, 24);
  },

  async tools(client) {
    const named = { type: "function", function: { name: "weather" } };
    const wanted = { messages: STORY, tools: [WEATHER, NOW], model: "builtin:stories", tool_choice: named };
    const answer = (await client.chat.completions.create(wanted)).choices[0];
    assert.equal(answer.finish_reason, "tool_calls");
    const [call] = answer.message.tool_calls;
    const check = ({ name, arguments: text }) => {
      const { city, days } = JSON.parse(text);
      assert.equal(name, "weather");
      assert.ok(["Zürich", "Bern"].includes(city) && days >= 1 && days <= 9, text);
    };
    check(call.function);

    // The helper calls the function, sends back what it says, and asks again until the model answers in words.
    const asked = [];
    const runner = client.chat.completions.runTools({
      messages: STORY,
      model: "builtin:stories",
      tool_choice: named,
      tools: [{ type: "function", function: { ...WEATHER.function, parse: JSON.parse, function: (given) => asked.push(given) && "sunny" } }],
    }, { maxChatCompletions: 1 });
    await runner.done();
    assert.equal(asked.length, 1);

    const streamed = client.chat.completions.stream(wanted);
    const final = (await streamed.finalChatCompletion()).choices[0];
    assert.equal(final.finish_reason, "tool_calls");
    check(final.message.tool_calls[0].function);
    await refused(400, "tools", client.chat.completions.create({ ...wanted, tool_choice: "auto" }));
  },

  async schema(client) {
    const response_format = { type: "json_schema", json_schema: { name: "look", schema: SCHEMA, strict: true } };
    const answer = await client.chat.completions.parse({ messages: STORY, model: "builtin:stories", response_format });
    const { color, size } = JSON.parse(answer.choices[0].message.content);
    assert.ok(["red", "blue"].includes(color) && size >= 1 && size <= 20);
  },

  async embeddings(client) {
    const input = ["a dog", "a cat"];
    // Without a format the client asks for base64 and gives numbers.
    const [plain, floats] = await Promise.all([undefined, "float"].map(async (encoding_format) => {
      return (await client.embeddings.create({ model: "builtin:embed", input, encoding_format })).data;
    }));
    assert.equal(plain.length, 2);
    for (const [i, x] of floats[1].embedding.entries()) assert.ok(Math.abs(x - plain[1].embedding[i]) < 1e-6);
  },

  async models(client) {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    assert.deepEqual(names, ["builtin:stories", "builtin:sentiment", "builtin:embed"]);
  },

  async errors(client) {
    const ask = (request, asked = client) => asked.chat.completions.create({ messages: STORY, model: "builtin:stories", ...request });
    assert.ok((await refused(400, "temperature", ask({ temperature: 3 }))) instanceof OpenAI.BadRequestError);
    assert.ok((await refused(404, null, ask({ model: "gpt-7" }))) instanceof OpenAI.NotFoundError);
    const huge = [{ role: "user", content: "x".repeat(5 << 20) }];
    assert.equal((await refused(413, null, ask({ messages: huge }))).code, "body_too_large");
    const stranger = client.withOptions({ apiKey: "wrong" });
    assert.ok((await refused(401, null, ask({}, stranger))) instanceof OpenAI.AuthenticationError);
  },
};

/** The only check of a server that has no model. */
async function unavailable(client) {
  const error = await refused(503, null, client.chat.completions.create({ messages: STORY, model: "builtin:stories" }));
  assert.ok(error instanceof OpenAI.InternalServerError);
}

async function refused(status, param, request) {
  const error = await request.then(() => assert.fail("not refused"), (error) => error);
  assert.ok(error instanceof OpenAI.APIError, error);
  assert.deepEqual([error.status, error.param], [status, param], error);
  assert.ok(error.message && error.type && error.code);
  return error;
}

const [address, key = "none", only] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: key, maxRetries: 0 });
for (const [name, check] of Object.entries(only === "unavailable" ? { unavailable } : checks)) {
  await check(client);
  console.log("node", name);
}
