// Conversations: kept, found, branched, gone on with, taken out and in; and the keys of the chat.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { answerText, ask, atMost, filesWithTemplate, finished } from "./answers.mjs";
import { newPage, openSite, sharedModel, shoot } from "./browser.mjs";

/** @type {Awaited<ReturnType<typeof openSite>>} */
let site;
before(async () => (site = await openSite()));
after(() => site?.close());

const READY = "#stage-words:text('Ready')";

/** @param {Parameters<typeof newPage>[1]} [options] @param {(page: import("playwright-core").Page) => Promise<void>} [prepare] */
async function openPage(options, prepare) {
  const opened = await newPage(site, options);
  await prepare?.(opened.page);
  await opened.page.goto(site.url);
  await opened.page.locator(READY).waitFor();
  return opened;
}

/** @param {import("playwright-core").Page} page */
const titles = (page) => page.locator("#chat-list .title").allTextContents();

/** @param {import("playwright-core").Page} page @param {string} title @param {string} action */
async function choose(page, title, action) {
  await page.getByRole("button", { name: `More of “${title}”` }).click();
  await page.locator("#chat-menu").getByRole("button", { name: action }).click();
}

test("asking again and asking otherwise make versions, and a branch is a chat of its own", async () => {
  const { page, faults } = await openPage();
  await atMost(page, 8);
  await ask(page, "Once upon a time");
  await finished(page);
  const first = await answerText(page);
  await page.locator(".again").click();
  await page.locator(".answer .versions", { hasText: "2/2" }).waitFor();
  const second = await answerText(page);
  await page.locator(".answer").getByRole("button", { name: "Version before" }).click();
  assert.equal(await answerText(page), first);
  await page.locator(".answer").getByRole("button", { name: "Next version" }).click();
  assert.equal(await answerText(page), second);

  // ↑ edits the last question; Escape leaves it, Enter asks.
  await page.getByRole("textbox", { name: "Message" }).focus();
  await page.keyboard.press("ArrowUp");
  await page.getByRole("textbox", { name: "Edit" }).fill("never asked");
  await page.keyboard.press("Escape");
  assert.equal(await page.locator(".user").textContent(), "Once upon a time");
  await page.locator("button.edit").click();
  await page.getByRole("textbox", { name: "Edit" }).fill("One day, a fox");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.press("Backspace");
  await page.keyboard.press("Enter");
  await finished(page);
  assert.equal(await page.locator(".user").textContent(), "One day, a fox");
  assert.match(await answerText(page), /^One day, a fox/);
  await page.locator(".question").getByRole("button", { name: "Version before" }).click();
  assert.equal(await answerText(page), second);

  await page.getByRole("button", { name: "Continue from here as a new chat" }).click();
  assert.deepEqual(await titles(page), ["Once upon a time", "Once upon a time"]);
  assert.equal(await answerText(page), second);
  assert.equal(await page.locator(".versions").count(), 0);
  await ask(page, "Then a bird");
  await finished(page);
  assert.equal(await page.locator(".question").count(), 2);
  await page.locator("#chat-list .title").nth(1).click();
  assert.equal(await page.locator(".question").count(), 1);
  await shoot(page, "versions");
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("a reload in the middle of an answer keeps it, and it can be gone on with", async () => {
  const { page, faults } = await openPage();
  await ask(page, "Lily found a shiny key");
  // Two of the writes that happen now and then.
  await page.locator(".answer .under", { hasText: /[3-9]\d tokens/ }).waitFor();
  await page.reload();
  await page.locator(".answer .figures", { hasText: "stopped" }).waitFor();
  assert.equal(await page.locator(".user").textContent(), "Lily found a shiny key");
  const kept = await answerText(page);
  assert.ok(kept.length > "Lily found a shiny key".length + 20, kept);
  await atMost(page, 8);
  await page.getByRole("button", { name: "Go on" }).click();
  await page.locator(".answer .figures", { hasText: "8 tokens" }).waitFor();
  const longer = await answerText(page);
  assert.ok(longer.startsWith(kept) && longer.length > kept.length, longer);
  // Cut at the limit again: the figures count what came before.
  await page.getByRole("button", { name: "Go on" }).click();
  await page.locator(".answer .figures", { hasText: "16 tokens" }).waitFor();
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("an answer of a page that is hidden is kept as it comes, and is all there when it shows again", async () => {
  const { page, faults } = await openPage();
  await atMost(page, 60, "0");
  await ask(page, "Once upon a time");
  await page.locator(".answer .text:not(.waiting)").waitFor();
  // As a hidden tab has it: no frame is drawn any more. (A browser that is steered from outside never hides a page by itself.)
  await page.evaluate(() => {
    /** Those that wait, under numbers that no frame of the browser has. @type {Map<number, FrameRequestCallback>} */
    const frames = new Map();
    let last = 1e9;
    const { requestAnimationFrame: draw, cancelAnimationFrame: cancel } = window;
    window.requestAnimationFrame = (frame) => {
      frames.set(++last, frame);
      return last;
    };
    window.cancelAnimationFrame = (id) => frames.delete(id) || cancel(id);
    Object.defineProperty(document, "hidden", { configurable: true, value: true });
    document.dispatchEvent(new Event("visibilitychange"));
    Object.assign(window, {
      showAgain() {
        Object.assign(window, { requestAnimationFrame: draw, cancelAnimationFrame: cancel });
        Object.defineProperty(document, "hidden", { configurable: true, value: false });
        document.dispatchEvent(new Event("visibilitychange"));
        frames.forEach((frame) => draw(frame));
      },
    });
  });
  const other = await page.context().newPage();
  await other.goto(site.url);
  await other.locator("#chat-list .title").first().click();
  await other.locator(".answer .figures", { hasText: "60 tokens" }).waitFor();
  const text = await answerText(other);
  await other.close();
  await page.bringToFront();
  await page.evaluate(() => /** @type {any} */ (window).showAgain());
  await page.locator(".answer .figures", { hasText: "60 tokens" }).waitFor();
  assert.equal(await answerText(page), text);
  // Playwright's own clicks wait for frames that it asked for meanwhile.
  await page.evaluate(() => document.querySelector(".again").click());
  await page.locator(".answer .versions", { hasText: "2/2" }).waitFor();
  assert.equal(await answerText(page), text);
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("what a failure leaves of an answer can be gone on with", async () => {
  const { page, faults } = await openPage({}, (page) => page.addInitScript(() => {
    const { postMessage } = Worker.prototype;
    Worker.prototype.postMessage = function (message, ...rest) {
      // The engine's answer to the request last made, as if it had failed.
      const data = { id: message.id, error: { name: "Limit", message: "out of memory" } };
      if (message.method === "generate") /** @type {any} */ (window).failLast = () => this.dispatchEvent(new MessageEvent("message", { data }));
      return postMessage.call(this, message, ...rest);
    };
  }));
  await atMost(page, 120);
  await ask(page, "Once upon a time");
  await page.locator(".answer .under", { hasText: /\d\d tokens/ }).waitFor();
  await page.evaluate(() => /** @type {any} */ (window).failLast());
  await page.locator(".answer .failure", { hasText: "out of memory" }).waitFor();
  const kept = await answerText(page);
  assert.ok(kept.length > "Once upon a time".length + 20, kept);
  await page.getByRole("button", { name: "Go on" }).click();
  await page.waitForFunction((length) => document.querySelector(".answer .text").textContent.length > length, kept.length);
  assert.ok((await answerText(page)).startsWith(kept));
  await page.keyboard.press("Escape");
  await finished(page);
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("chats are found, renamed, deleted and had back, and another tab follows", async () => {
  const { page, faults } = await openPage();
  await atMost(page, 4);
  for (const text of ["A cat", "A dog", "A horse"]) {
    await page.locator("#new-chat").click();
    await ask(page, text);
    await finished(page);
  }
  assert.deepEqual(await titles(page), ["A horse", "A dog", "A cat"]);
  await shoot(page, "rail");
  await page.getByRole("searchbox").fill("dOg");
  assert.deepEqual(await titles(page), ["A dog"]);
  await page.getByRole("searchbox").fill("zebra");
  await page.getByText("No chat holds these words").waitFor();
  await page.getByRole("searchbox").fill("");
  await choose(page, "A cat", "Rename");
  await page.getByRole("textbox", { name: "Rename" }).fill("Whiskers");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Whiskers", exact: true }).waitFor();

  const other = await page.context().newPage();
  await other.goto(site.url);
  await other.getByRole("button", { name: "Whiskers", exact: true }).click();
  assert.equal(await other.locator(".user").textContent(), "A cat");
  await choose(page, "A horse", "Delete");
  await page.getByText("Deleted “A horse”").waitFor();
  assert.equal(await page.locator(".question").count(), 0);
  await other.waitForFunction(() => document.querySelectorAll("#chat-list li").length === 2);
  await page.getByRole("button", { name: "Undo" }).click();
  assert.equal(await page.locator(".user").textContent(), "A horse");
  await other.waitForFunction(() => document.querySelectorAll("#chat-list li").length === 3);
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("an answer goes on behind another chat, and ends where its chat is deleted", async () => {
  const { page, faults } = await openPage();
  await ask(page, "Once upon a time");
  await page.locator(".answer .under", { hasText: /\d\d tokens/ }).waitFor();
  const early = await answerText(page);
  await page.locator("#new-chat").click();
  assert.equal(await page.locator(".answer").count(), 0);
  await page.getByRole("button", { name: "Once upon a time", exact: true }).click();
  await page.locator(".answer.streaming").waitFor();
  await page.waitForFunction((length) => document.querySelector(".answer .text").textContent.length > length, early.length);
  assert.ok((await answerText(page)).startsWith(early));
  await choose(page, "Once upon a time", "Delete");
  await page.getByRole("button", { name: "Send" }).waitFor();
  // What is deleted is not written again.
  await page.locator("#new-chat").click();
  await atMost(page, 4);
  await ask(page, "A cat");
  await finished(page);
  await page.reload();
  await page.locator(".question").waitFor();
  assert.deepEqual(await titles(page), ["A cat"]);
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("two tabs that go on with one chat lose nothing of either", async () => {
  const { page, faults } = await openPage();
  await atMost(page, 4);
  await ask(page, "A cat");
  await finished(page);
  const other = await page.context().newPage();
  await other.goto(site.url);
  await other.locator("#chat-list .title", { hasText: "A cat" }).click();
  await other.locator(READY).waitFor();
  await Promise.all([ask(page, "A dog"), ask(other, "A bird")]);
  await Promise.all([finished(page), finished(other)]);
  for (const tab of [page, other]) {
    await tab.locator(".question .versions", { hasText: "/2" }).waitFor();
    await tab.reload();
    await tab.locator(".question .versions", { hasText: "/2" }).waitFor();
  }
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("chats go out as JSON and Markdown, and come in again as they were", async () => {
  const { page, faults } = await openPage();
  await atMost(page, 4);
  await ask(page, "A cat / & a hat");
  await finished(page);
  const text = await answerText(page);
  const save = async (/** @type {() => Promise<void>} */ click) => {
    const [download] = await Promise.all([page.waitForEvent("download"), click()]);
    return { name: download.suggestedFilename(), text: readFileSync(await download.path(), "utf8") };
  };
  const markdown = await save(() => choose(page, "A cat / & a hat", "Save as Markdown"));
  assert.equal(markdown.name, "A-cat-a-hat.md");
  assert.equal(markdown.text, `# A cat / & a hat\n\n## You\n\nA cat / & a hat\n\n## Answer\n\n${text}\n`);
  const json = await save(() => page.getByRole("button", { name: "Export all" }).click());
  const take = (/** @type {string} */ content) =>
    page.locator("#import-file").setInputFiles({ name: "chats.json", mimeType: "application/json", buffer: Buffer.from(content) });
  // What is there already stays as it is; a file of another state comes beside it.
  await take(json.text);
  await page.getByText("0 chats added").waitFor();
  await choose(page, "A cat / & a hat", "Delete");
  await take(json.text);
  await page.getByText("1 chats added").waitFor();
  await page.getByRole("button", { name: "A cat / & a hat", exact: true }).click();
  assert.equal(await answerText(page), text);
  const file = JSON.parse(json.text);
  for (const [bad, words] of [
    ["{", /chats\.json cannot be read: no JSON/],
    ["{}", /"format" should be "trice-conversations", not undefined/],
    [JSON.stringify({ ...file, version: 2 }), /"version" should be 1, not 2/],
    [JSON.stringify({ ...file, conversations: [{ ...file.conversations[0], title: 7 }] }), /conversation 1, "title" should be a string, not 7/],
    [json.text.replace(/"parent": "\w+"/, '"parent": "later"'), /turn 2, "parent" should be the id of a turn before it/],
  ]) {
    await take(/** @type {string} */ (bad));
    await page.locator("#chats-note .failure", { hasText: words }).waitFor();
  }
  assert.equal((await titles(page)).length, 1);
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("where the browser keeps nothing, chatting goes on and the page says so", async () => {
  for (const broken of ["missing", "refused"]) {
    const { page, faults } = await openPage({}, (page) => page.addInitScript((broken) => {
      const refuse = () => { throw new DOMException("denied", "SecurityError"); };
      if (broken === "missing") Object.defineProperty(window, "indexedDB", { get: () => undefined });
      else IDBFactory.prototype.open = refuse;
      for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(window, name, { get: refuse });
    }, broken));
    await atMost(page, 4);
    await ask(page, "A cat");
    await finished(page);
    assert.deepEqual(await titles(page), ["A cat"]);
    await page.getByText("This browser keeps nothing").waitFor();
    assert.deepEqual(faults, []);
    await page.context().close();
  }
});

test("a model with a template is given the system prompt and the turns that were answered", async (t) => {
  const folder = sharedModel("TinyStories-656K");
  if (!folder) return t.skip("no TRICE_SHARED");
  const { page, faults } = await openPage({}, (page) => page.addInitScript(() => {
    const { postMessage } = Worker.prototype;
    /** @type {any} */ (window).asked = [];
    Worker.prototype.postMessage = function (message, ...rest) {
      if (message.method === "generate") /** @type {any} */ (window).asked.push(message.args);
      return postMessage.call(this, message, ...rest);
    };
  }));
  const lastAsked = () => page.evaluate(() => /** @type {any} */ (window).asked.at(-1));
  await page.locator("#file").setInputFiles(filesWithTemplate(folder, "{% for m in messages %}{{ m.content }} {% endfor %}"));
  await page.locator("#model-name", { hasText: "config.json" }).waitFor();
  await page.locator(READY).waitFor();
  await atMost(page, 6, "0");
  await page.locator("#open-system").click();
  await page.getByRole("button", { name: "Tutor" }).click();
  await page.getByRole("textbox", { name: "System prompt" }).fill("Tell of animals.");
  await page.getByRole("textbox", { name: "Name" }).fill("Animals");
  await page.getByRole("button", { name: "Keep as a preset" }).click();
  await page.getByRole("button", { name: "Animals", exact: true }).waitFor();
  await shoot(page, "presets");
  await page.locator("#system-sheet [data-close]").click();
  assert.equal(await page.locator("#open-system").textContent(), "System prompt: Animals");
  await ask(page, "A cat");
  await finished(page);
  const first = await page.evaluate(() => document.querySelector(".answer .text").textContent);
  await page.getByRole("button", { name: "Go on" }).click();
  await page.locator(".answer .figures", { hasText: "12 tokens" }).waitFor();
  const begun = await lastAsked();
  assert.equal(begun.goOn, true);
  assert.deepEqual(begun.messages.map(({ role }) => role), ["system", "user", "assistant"]);
  const longer = await answerText(page);
  assert.ok(longer.startsWith(first.trim()) && longer.length > first.length, longer);
  // Gone on with, it is what it would have been at once.
  await atMost(page, 12, "0");
  await page.locator(".again").click();
  await page.locator(".answer .versions", { hasText: "2/2" }).waitFor();
  assert.equal(await answerText(page), longer);
  await ask(page, "A dog");
  await finished(page);
  const { messages, goOn } = await lastAsked();
  assert.equal(goOn, undefined);
  assert.deepEqual(messages.map(({ role }) => role), ["system", "user", "assistant", "user"]);
  assert.equal(messages[0].content, "Tell of animals.");
  assert.equal(messages[3].content, "A dog");
  // A new chat keeps the prompt, a reload all of it.
  await page.locator("#new-chat").click();
  assert.equal(await page.locator("#open-system").textContent(), "System prompt: Animals");
  await page.reload();
  await page.locator("#open-system", { hasText: "Animals" }).waitFor();
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("what an earlier answer begins with is not read again", async () => {
  const { page } = await openPage();
  const prefilled = await page.evaluate(async () => {
    const { load } = await import(new URL("web/engine.js", document.baseURI).href);
    const model = await load("builtin:stories");
    const prompt = "Once upon a time there was a cat who lived by the sea and liked to watch the boats.";
    const options = { temperature: 0, maxTokens: 8 };
    const first = await model.generate({ prompt, raw: true }, options);
    const again = await model.generate({ prompt, raw: true }, options);
    const further = await model.generate({ prompt: prompt + first.text, raw: true }, options);
    await model.dispose();
    return [first, again, further].map(({ timings }) => timings.prefill_tokens);
  });
  assert.ok(prefilled[0] > 15 && prefilled[1] <= 2 && prefilled[2] <= 3, String(prefilled));
  await page.context().close();
});

test("scrolled up, the reader stays while an answer comes, and a button leads back to its end", async () => {
  const { page } = await openPage({ viewport: { width: 1100, height: 420 } });
  await ask(page, `${"Lily and Tom went to the park.\n".repeat(14)}One day, they saw a big dog`);
  await page.locator(".answer .under", { hasText: "tokens" }).waitFor();
  await page.mouse.move(600, 200);
  await page.mouse.wheel(0, -300);
  const button = page.getByRole("button", { name: "New", exact: true });
  await button.waitFor();
  await page.waitForFunction(() => document.documentElement.scrollHeight - innerHeight - scrollY > 250);
  const place = await page.evaluate(() => scrollY);
  const length = (await answerText(page)).length;
  await page.waitForFunction((length) => document.querySelector(".answer .text").textContent.length > length + 20, length);
  assert.equal(await page.evaluate(() => scrollY), place);
  await button.click();
  await page.waitForFunction(() => document.documentElement.scrollHeight - innerHeight - scrollY < 60);
  await page.keyboard.press("Escape");
  await page.context().close();
});

test("on a phone the chats are a sheet from the bottom", async () => {
  const { page, faults } = await openPage({ viewport: { width: 360, height: 720 }, isMobile: true, hasTouch: true });
  await atMost(page, 4);
  await ask(page, "A cat with a name that is far too long for any title of a chat on a small phone");
  await finished(page);
  assert.equal(await page.locator("#chats").isVisible(), false);
  await page.getByRole("button", { name: "Chats" }).click();
  await page.locator("#chats").waitFor();
  await shoot(page, "phone-chats");
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0);
  await page.locator("#new-chat").click();
  assert.equal(await page.locator("#chats").isVisible(), false);
  assert.equal(await page.locator(".question").count(), 0);
  assert.deepEqual(faults, []);
  await page.context().close();
});
