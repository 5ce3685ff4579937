// The page as a person uses it, in a real Chromium: opening, chatting, stopping, classifying, and what goes wrong.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { newPage, openSite, sharedModel, shoot } from "./browser.mjs";
import { serveHub } from "./serve.mjs";

/** @type {Awaited<ReturnType<typeof openSite>>} */
let site;
before(async () => (site = await openSite()));
after(() => site?.close());

const READY = "#stage-words:text('Ready')";

/** Waits until the answer is finished and returns its figures. */
async function figures(page) {
  const words = page.locator(".answer:last-child .figures");
  await words.waitFor();
  return await words.textContent();
}

test("the page paints without the engine and sends what was typed once it is ready", async () => {
  const { page, faults } = await newPage(site);
  const requests = [];
  page.on("request", (request) => requests.push(request.url() + (request.postData() ?? "")));
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await page.route("**/pkg/*.wasm", async (route) => {
    await held;
    await route.continue();
  });
  await page.goto(site.url);
  await page.getByRole("heading", { name: "Trice" }).waitFor();
  await shoot(page, "first-visit");
  await page.getByRole("textbox", { name: "Message" }).fill("Once upon a time, there was a rabbit called Quillfeather");
  await page.keyboard.press("Enter");
  await page.getByText("Waiting for the model").waitFor();
  release();
  await page.locator(".streaming .under", { hasText: /\d\d tokens/ }).waitFor();
  await shoot(page, "streaming");
  assert.match(await figures(page), /[\d.,]+ tokens\/s · first token .+ m?s · \d+ tokens/);
  const text = await page.locator(".answer .text").textContent();
  assert.ok(text.length > "Once upon a time, there was a rabbit called Quillfeather".length + 20, text);
  assert.equal(await page.locator("#live").textContent(), "Answer finished");
  await shoot(page, "answered");
  assert.deepEqual(requests.filter((url) => !url.startsWith(site.url) && !/^(data|blob):/.test(url)), []);
  assert.deepEqual(requests.filter((url) => url.includes("Quillfeather")), []);
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("stop ends an answer where it is, and the next one works", async () => {
  const { page, faults } = await newPage(site);
  await page.goto(site.url);
  await page.locator(READY).waitFor();
  await page.getByRole("textbox", { name: "Message" }).fill("One day");
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator(".answer .under:has-text('tokens')").waitFor();
  await page.getByRole("button", { name: "Stop" }).click();
  assert.match(await figures(page), /stopped/);
  await page.locator(".again").click();
  await page.waitForSelector(".streaming");
  await page.keyboard.press("Escape");
  assert.match(await figures(page), /stopped/);
  assert.equal(await page.locator(".answer").count(), 1);
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("a sentence is classified into bars, with the model's labels and with one's own", async () => {
  const { page, faults } = await newPage(site);
  await page.goto(site.url);
  await page.getByRole("tab", { name: "Chat" }).focus();
  await page.keyboard.press("ArrowRight");
  await page.getByRole("textbox", { name: "Text" }).fill("This is the best phone I ever had, I love it.");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".score");
  const scores = await page.locator(".score").allTextContents();
  assert.equal(scores.length, 2, scores.join());
  assert.match(scores[0], /^positive/);
  const sum = scores.map((words) => Number.parseFloat(/([\d.]+)%/.exec(words)[1])).reduce((a, b) => a + b);
  assert.ok(Math.abs(sum - 100) < 0.3, String(sum));
  await shoot(page, "classified");
  await page.getByRole("textbox", { name: "Labels" }).fill("phones, kitchens, holidays");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll(".score").length === 3);
  assert.equal(await page.locator(".chip").count(), 3);
  await page.getByRole("button", { name: "Remove kitchens" }).click();
  await page.waitForFunction(() => document.querySelectorAll(".score").length === 2);
  assert.deepEqual(faults, []);
  await page.context().close();
});

/**
 * The contrast of an element's text with what is behind it, as WCAG counts it; backgrounds may be translucent.
 * @param {Element} element
 */
function contrastOf(element) {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d");
  const luminance = (colors) => {
    for (const color of colors) {
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
    }
    const linear = (byte) => (byte / 255 <= 0.04045 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4);
    const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map(linear);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const back = [getComputedStyle(document.documentElement).backgroundColor, getComputedStyle(element).backgroundColor];
  const [darker, lighter] = [luminance(back), luminance([...back, getComputedStyle(element).color])].sort((a, b) => a - b);
  return (lighter + 0.05) / (darker + 0.05);
}

test("words are shaded by what they do for a label, readably in light and dark", async () => {
  const text = "The food was terrible, but the waiter smiled.";
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    const { page, faults } = await newPage(site, { colorScheme });
    await page.goto(`${site.url}#classify`);
    await page.getByRole("textbox", { name: "Text" }).fill(text);
    await page.keyboard.press("Enter");
    const shaded = page.locator(".shaded");
    const words = () => shaded.locator("span").evaluateAll((spans) => spans.map((span) => {
      return { word: span.textContent, side: span.className, strength: Number(span.style.getPropertyValue("--strength")) };
    }));
    const strongest = async () => (await words()).reduce((a, b) => (b.strength > a.strength ? b : a));
    await page.getByText("Why “negative”").waitFor();
    assert.equal(await shaded.textContent(), text);
    assert.deepEqual((await words()).map(({ word }) => word), "The food was terrible , but the waiter smiled .".split(" "));
    assert.deepEqual(await strongest(), { word: "terrible", side: "for", strength: 1 });
    assert.ok((await words()).every(({ strength }) => strength >= 0 && strength <= 1));
    assert.match(await page.locator("#why .note").last().textContent(), /add to “negative”: terrible \+\d+\.\d%/);
    assert.match(await shaded.getByText("terrible").getAttribute("title"), /^\+\d+\.\d%$/);
    await shoot(page, `shading-${colorScheme}`);
    assert.ok((await shaded.getByText("terrible").evaluate(contrastOf)) >= 4.5);

    await page.getByRole("button", { name: /^positive/ }).click();
    await page.getByText("Why “positive”").waitFor();
    assert.deepEqual(await strongest(), { word: "terrible", side: "against", strength: 1 });
    assert.equal(await page.locator(".score[aria-pressed=true]").getAttribute("data-label"), "POSITIVE");
    assert.ok((await shaded.getByText("terrible").evaluate(contrastOf)) >= 4.5);
    assert.deepEqual(faults, []);
    await page.context().close();
  }
});

test("a dropped file that is no model gets a sentence, and the page goes on", async () => {
  const { page, faults } = await newPage(site);
  await page.goto(site.url);
  await page.locator(READY).waitFor();
  const transfer = await page.evaluateHandle(() => {
    const transfer = new DataTransfer();
    transfer.items.add(new File(["this is no model"], "notes.gguf"));
    return transfer;
  });
  await page.dispatchEvent("body", "dragover", { dataTransfer: transfer });
  assert.ok(await page.locator("#drop").isVisible());
  await page.dispatchEvent("body", "drop", { dataTransfer: transfer });
  await page.waitForSelector(".stage.failed");
  const words = await page.locator("#stage-words").textContent();
  assert.match(words, /^This file cannot be used: .*notes\.gguf.*Choose another file\.$/);
  await shoot(page, "bad-file");
  await page.getByRole("button", { name: "Choose a model" }).click();
  await page.locator("#built-in .card", { hasText: "Storyteller" }).getByRole("button").click();
  await page.locator(READY).waitFor();
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("an unknown name gets a sentence", async () => {
  const { page } = await newPage(site);
  await page.goto(site.url);
  await page.locator(READY).waitFor();
  await page.locator("#open-models").click();
  await shoot(page, "models");
  await page.locator("#hub-name").fill("builtin:nonsense");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".stage.failed");
  assert.match(await page.locator("#stage-words").textContent(), /nonsense/);
  await page.context().close();
});

test("without WebGPU the page says what to do, and nothing breaks", async () => {
  const { page, faults } = await newPage(site);
  await page.addInitScript(() => Reflect.deleteProperty(Navigator.prototype, "gpu"));
  await page.goto(site.url);
  await page.getByRole("heading", { name: "This browser does not offer WebGPU" }).waitFor();
  assert.match(await page.locator("#no-webgpu .here").textContent(), /^Chrome and Edge/);
  await page.getByRole("textbox", { name: "Message" }).fill("Hello");
  await page.keyboard.press("Enter");
  assert.match(await page.locator(".answer .failure").textContent(), /WebGPU/);
  await page.getByRole("tab", { name: "Classify" }).click();
  await page.getByRole("button", { name: "Classify", exact: true }).click();
  assert.match(await page.locator("#classify-note .failure").textContent(), /WebGPU/);
  await page.locator("#many-file").setInputFiles({ name: "lines.txt", mimeType: "text/plain", buffer: Buffer.from("Lovely.\n") });
  assert.match(await page.locator("#many-words .failure").textContent(), /WebGPU/);
  await shoot(page, "no-webgpu");
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("the file of a learnt head is taken by the built-in encoder", async (t) => {
  const heads = sharedModel("minilm-heads");
  if (!heads) return t.skip("no TRICE_SHARED");
  const { page, faults } = await newPage(site);
  await page.goto(site.url);
  await page.getByRole("tab", { name: "Classify" }).click();
  await page.locator("#file").setInputFiles(join(heads, "trec6.safetensors"));
  await page.locator("#label-chips", { hasText: "LABEL_5" }).waitFor();
  await page.locator("#classify-text").fill("where is the eiffel tower ?");
  await page.getByRole("button", { name: "Classify", exact: true }).click();
  await page.locator("#bars .score").nth(5).waitFor();
  assert.equal(await page.locator("#model-name").textContent(), "trec6.safetensors");
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("a phone of 360 px has no sideways scrolling, in light and dark", async () => {
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    const { page, faults } = await newPage(site, { viewport: { width: 360, height: 720 }, isMobile: true, hasTouch: true, colorScheme });
    const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    await page.goto(site.url);
    await page.locator(READY).waitFor();
    assert.equal(await overflow(), 0);
    await shoot(page, `phone-${colorScheme}-chat`);
    for (const sheet of ["models", "settings", "device"]) {
      await page.locator(`#open-${sheet}`).click();
      assert.equal(await overflow(), 0, sheet);
      assert.equal(await page.locator(`#${sheet}`).evaluate((element) => element.scrollWidth - element.clientWidth), 0, sheet);
      await shoot(page, `phone-${colorScheme}-${sheet}`);
      await page.locator(`#${sheet} [data-close]`).click();
    }
    await page.getByRole("tab", { name: "Classify" }).click();
    await page.getByRole("button", { name: "Classify", exact: true }).click();
    await page.waitForSelector(".score");
    assert.equal(await overflow(), 0);
    await shoot(page, `phone-${colorScheme}-classify`);
    assert.deepEqual(faults, []);
    await page.context().close();
  }
});

test("the device panel checks what the device computes", async () => {
  const { page, faults } = await newPage(site);
  await page.goto(site.url);
  await page.locator("#open-device").click();
  await page.getByRole("button", { name: "Check its results" }).click();
  await page.getByText(/Checking: \d+ of 16 types/).waitFor();
  await page.getByText(/All \d+ products are right; the largest error is \d/).waitFor();
  assert.ok(await page.getByRole("button", { name: "Check its results" }).isEnabled());
  await shoot(page, "device");
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("settings are kept, and the page speaks Chinese", async () => {
  const { page } = await newPage(site, { locale: "zh-CN" });
  await page.goto(site.url);
  await page.getByRole("tab", { name: "对话" }).waitFor();
  await page.locator("#open-settings").click();
  await page.getByLabel("最多词元").fill("7");
  await page.getByLabel("语言").selectOption("en");
  await page.getByText("At most tokens").waitFor();
  await page.reload();
  await page.getByRole("tab", { name: "Chat" }).waitFor();
  await page.getByRole("textbox", { name: "Message" }).fill("Once upon a time");
  await page.keyboard.press("Enter");
  assert.match(await figures(page), / [1-7] tokens/);
  await page.context().close();
});

test("a hub model comes from the mirror of the settings", async (t) => {
  const folder = sharedModel("TinyStories-656K");
  if (!folder) return t.skip("no TRICE_SHARED");
  const hub = await serveHub(folder);
  t.after(() => hub.close());
  const { page, faults } = await newPage(site);
  await page.goto(site.url);
  await page.locator("#open-settings").click();
  await page.getByLabel("Hub mirror").fill(hub.url);
  await page.keyboard.press("Escape");
  await page.locator("#open-models").click();
  await page.locator("#hub-name").fill("test/model");
  await page.keyboard.press("Enter");
  await page.locator("#model-name", { hasText: "test/model" }).waitFor();
  await page.locator(READY).waitFor();
  await page.getByRole("textbox", { name: "Message" }).fill("Once upon a time");
  await page.keyboard.press("Enter");
  assert.match(await figures(page), /tokens\/s/);
  assert.deepEqual(faults, []);
  await page.context().close();
});
