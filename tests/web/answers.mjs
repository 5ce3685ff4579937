// What the tests of answers share: a text that streams into an answer as a model's would, without a model.

import { readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Streams a text into a fresh answer on the page, `step` characters a frame, and finishes it. Leaves the answer's words in `.text`.
 * @param {import("playwright-core").Page} page
 * @param {string} text
 * @param {number} [step]
 * @param {string} [thought] What is thought before it.
 */
export function streamAnswer(page, text, step = 7, thought = "") {
  return page.evaluate(async ([thought, text, step]) => {
    /** @param {string} name */
    const script = (name) => import(new URL(`web/${name}.js`, document.baseURI).href);
    const [{ AnswerView }, { addTurn, grow, newConversation }] = [await script("answer"), await script("conversation")];
    const conversation = newConversation("");
    const question = addTurn(conversation, null, "user", "?");
    const turn = addTurn(conversation, question.id, "assistant", "");
    const view = new AnswerView(conversation, turn, {});
    document.getElementById("welcome").hidden = true;
    document.getElementById("conversation").replaceChildren(view.element);
    view.wait();
    view.begin();
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    for (const [kind, all] of [["reasoning", thought], ["content", text]]) {
      const characters = [...all];
      for (let i = 0; i < characters.length; i += step) {
        grow(turn, [{ [kind]: characters.slice(i, i + step).join("") }]);
        view.grow(1);
        await frame();
      }
    }
    turn.finish = "stop";
    view.finish();
  }, /** @type {[string, string, number]} */ ([thought, text, step]));
}

/** Resolves once answers are shown as what they mean. @param {import("playwright-core").Page} page */
export async function markdownReady(page) {
  await streamAnswer(page, "*ready*");
  await page.locator(".text em").waitFor();
}

/** Answers of few tokens, so that tests are short. @param {import("playwright-core").Page} page @param {number} n @param {string} [temperature] */
export async function atMost(page, n, temperature = "0.7") {
  await page.locator("#open-settings").click();
  await page.getByLabel("At most tokens").fill(String(n));
  await page.getByLabel("Temperature").fill(temperature);
  await page.locator("#settings [data-close]").click();
}

/** @param {import("playwright-core").Page} page @param {string} text */
export async function ask(page, text) {
  await page.getByRole("textbox", { name: "Message" }).fill(text);
  await page.keyboard.press("Enter");
}

/** @param {import("playwright-core").Page} page */
export const finished = (page) => page.locator(".answer:last-child .figures").waitFor();
/** @param {import("playwright-core").Page} page */
export const answerText = (page) => page.locator(".answer:last-child .text").textContent();

/**
 * The files of a model as a page's picker takes them, with a chat template in place of the one it has.
 * @param {string} folder
 * @param {string} template
 */
export function filesWithTemplate(folder, template) {
  const config = { ...JSON.parse(readFileSync(join(folder, "tokenizer_config.json"), "utf8")), chat_template: template };
  const files = ["config.json", "tokenizer.json", "model.safetensors"].map((name) => ({ name, buffer: readFileSync(join(folder, name)) }));
  files.push({ name: "tokenizer_config.json", buffer: Buffer.from(JSON.stringify(config)) });
  return files.map((file) => ({ ...file, mimeType: "application/octet-stream" }));
}
