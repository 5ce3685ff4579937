// Trice in a page that a bundler builds: `npm install trice`, import, load. Nothing has to be configured.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { streamText } from "ai";
import OpenAI from "openai";
import { load, pipeline } from "trice";

const show = (id, text) => document.getElementById(id).append(text);

const classify = await pipeline("text-classification");
const [{ label, score }] = await classify("What a lovely day!");
show("label", `${label} ${Math.round(100 * score)} %`);

const model = await load("builtin:stories");
for await (const piece of model.stream({ prompt: "Once upon a time", raw: true }, { maxTokens: 40, temperature: 0 })) show("story", piece);

// What is written for OpenAI's client or the AI SDK asks the model by its `fetch`: without a server, without a key.
const local = { baseURL: "https://trice.invalid/v1", fetch: model.openai.fetch };
const question = "Tell me about a dog.";
const openai = new OpenAI({ ...local, apiKey: "none", dangerouslyAllowBrowser: true });
const messages = [{ role: "user", content: question }];
const { choices } = await openai.chat.completions.create({ model: "stories", messages, max_tokens: 12, temperature: 0 });
show("openai", choices[0].message.content);

const trice = createOpenAICompatible({ ...local, name: "trice" });
const { textStream } = streamText({ model: trice("stories"), prompt: question, maxOutputTokens: 12, temperature: 0 });
for await (const piece of textStream) show("ai-sdk", piece);

const embedder = await load("builtin:embed");
const vectors = new OpenAI({ ...local, fetch: embedder.openai.fetch, apiKey: "none", dangerouslyAllowBrowser: true });
const { data } = await vectors.embeddings.create({ model: "embed", input: ["a dog", "a puppy", "a tax law"] });
const dot = (a, b) => data[a].embedding.reduce((sum, value, i) => sum + value * data[b].embedding[i], 0);
show("near", `${dot(0, 1) > dot(0, 2) ? "a puppy" : "a tax law"}, of length ${dot(0, 0).toFixed(3)}`);
for (const stream of [false, true]) {
  const refused = await openai.chat.completions.create({ model: "stories", messages: [], stream }).catch((error) => error);
  show("refused", `${refused.status} ${refused.message} `);
}
document.title = "done";
