// Trice in a page that a bundler builds: `npm install trice`, import, load. Nothing has to be configured.

import { load, pipeline } from "trice";

const show = (id, text) => document.getElementById(id).append(text);

const classify = await pipeline("text-classification");
const [{ label, score }] = await classify("What a lovely day!");
show("label", `${label} ${Math.round(100 * score)} %`);

const model = await load("builtin:stories");
for await (const piece of model.stream({ prompt: "Once upon a time", raw: true }, { maxTokens: 40, temperature: 0 })) show("story", piece);
document.title = "done";
