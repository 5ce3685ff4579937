// Many texts in the page: a file dropped, labelled row by row, filtered, paused, and saved as the file it was with labels behind.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { newPage, openSite, SHARED, shoot } from "./browser.mjs";

/** @type {Awaited<ReturnType<typeof openSite>>} */
let site;
before(async () => (site = await openSite()));
after(() => site?.close());

/** Real sentences, each praise or complaint. @param {number} n */
function sentences(n) {
  const files = ["amazon_cells", "yelp", "imdb"].map((name) => join(SHARED, "data/uci-sentences", `${name}_labelled.txt`));
  if (!existsSync(files[0])) return null;
  const lines = files.flatMap((file) => readFileSync(file, "utf8").split("\n"));
  const texts = lines.map((line) => line.split("\t")[0].trim()).filter((text) => text !== "");
  assert.ok(texts.length >= n, `${texts.length} sentences`);
  return texts.slice(0, n);
}

/** A field as CSV has it. @param {string} text */
const quoted = (text) => `"${text.replaceAll('"', '""')}"`;

/** The rows of a CSV of which every field may be quoted. @param {string} text */
function parseCsv(text) {
  /** @type {string[][]} */
  const rows = [[]];
  for (const [, value, end] of text.matchAll(/("(?:[^"]|"")*"|[^",\n]*)(,|\n|$)/g)) {
    rows.at(-1).push(value.startsWith('"') ? value.slice(1, -1).replaceAll('""', '"') : value);
    if (end === "\n") rows.push([]);
    if (end === "") break;
  }
  return rows.filter((row) => row.length > 1);
}

/** Drops a file anywhere on the page. @param {import("playwright-core").Page} page @param {string} name @param {string | number[]} content */
async function drop(page, name, content) {
  const transfer = await page.evaluateHandle(
    ([name, content]) => {
      const transfer = new DataTransfer();
      const part = typeof content === "string" ? content : new Uint8Array(/** @type {any} */ (content));
      transfer.items.add(new File([part], /** @type {string} */ (name)));
      return transfer;
    },
    /** @type {const} */ ([name, content]),
  );
  await page.dispatchEvent("body", "dragover", { dataTransfer: transfer });
  assert.equal(await page.locator("#drop").textContent(), "Drop a file of texts, or a model, here");
  await page.dispatchEvent("body", "drop", { dataTransfer: transfer });
}

/** What Save gives. @param {import("playwright-core").Page} page */
async function save(page) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save" }).click()]);
  return { name: download.suggestedFilename(), text: readFileSync(await download.path(), "utf8") };
}

/** A page that shows the Classify tab. @param {import("playwright-core").BrowserContextOptions} [options] */
async function classifyPage(options) {
  const opened = await newPage(site, options);
  await opened.page.goto(`${site.url}#classify`);
  await opened.page.locator("#stage-words:text('Ready')").waitFor();
  return opened;
}

const words = (page) => page.locator("#many-words");

test("a dropped CSV of 1,000 rows is labelled in order, paused, filtered and saved", async (t) => {
  const texts = sentences(1000);
  if (!texts) return t.skip("no TRICE_SHARED");
  const { page, faults } = await classifyPage();
  // Quotes and line ends inside fields, and a row that lacks its text.
  texts[3] = `The "best" phone,\nby far: ${texts[3]}`;
  const line = (text, i) => (i === 500 ? `${i}` : `${i},${quoted(text)}`);
  const csv = `id,review\n${texts.map(line).join("\n")}\n`;
  const begun = page.waitForFunction(() => document.getElementById("live")?.textContent === "Labelling 1,000 texts");
  await drop(page, "reviews.csv", csv);
  await begun;
  await page.getByText("reviews.csv · 1,000 rows").waitFor();
  assert.equal(await page.getByLabel("Column of texts").inputValue(), "review");

  await page.locator("#many-words", { hasText: /^\d[\d,]* of 1,000 · [\d.]+ texts\/s · \d+ (s|min) left$/ }).waitFor();
  await shoot(page, "many-running");
  await page.getByRole("button", { name: "Pause" }).click();
  await page.locator("#many-words", { hasText: "paused" }).waitFor();
  const part = parseCsv((await save(page)).text);
  assert.ok(part.length > 64 && part.length < 1000, `${part.length} rows when paused`);
  await page.getByRole("button", { name: "Go on" }).click();
  await page.locator("#many-words", { hasText: /^1,000 texts in [\d.]+ (s|ms) · [\d,.]+ texts\/s · 1 without a result$/ }).waitFor();
  assert.equal(await page.locator("#live").textContent(), "1,000 texts are labelled");
  await shoot(page, "many-done");

  const { name, text } = await save(page);
  assert.equal(name, "reviews-labelled.csv");
  const [head, ...rows] = parseCsv(text);
  assert.deepEqual(head, ["id", "review", "label", "score", "error"]);
  assert.deepEqual(rows.map(([id]) => id), texts.map((_, i) => String(i)));
  for (const [i, [, review, label, score, error]] of rows.entries()) {
    if (i === 500) {
      assert.deepEqual([review, label, score, error], ["", "", "", "fields: 2 wanted and 1 found"]);
    } else {
      assert.equal(review, texts[i]);
      assert.match(label, /^(POSITIVE|NEGATIVE)$/);
      assert.ok(Number(score) >= 0.5 && Number(score) <= 1 && error === "", `row ${i}: ${score} ${error}`);
    }
  }
  assert.deepEqual(part.slice(1), rows.slice(0, part.length - 1));

  // Ten of them alone give the same labels.
  const alone = await page.evaluate(async (texts) => {
    const { slots } = await import(new URL("web/slots.js", document.baseURI).href);
    return (await slots.classify.model.classify(texts)).map(({ labels }) => labels[0].label);
  }, texts.slice(20, 30));
  assert.deepEqual(rows.slice(20, 30).map(([, , label]) => label), alone);

  const shown = () => page.locator("#many-rows tr").allTextContents();
  assert.equal((await shown()).length, 100);
  await page.getByRole("button", { name: "Next" }).click();
  assert.match((await shown())[0], /^101/);
  await page.getByLabel("Show").selectOption({ label: "no result (1)" });
  assert.deepEqual(await shown(), ["501500fields: 2 wanted and 1 found"]);
  await page.getByLabel("Show").selectOption("NEGATIVE");
  await page.getByLabel("with the words").fill("TERRIBLE");
  const terrible = rows.flatMap(([, review, label], i) => (label === "NEGATIVE" && /terrible/i.test(review) ? [i + 1] : []));
  assert.ok(terrible.length > 2, String(terrible));
  assert.deepEqual(await page.locator("#many-rows .number:first-child").allTextContents(), terrible.map(String));
  await page.getByLabel("with the words").fill("zyzzyva");
  await page.getByText("No row is like that.").waitFor();
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("JSON lines keep their keys, another column can be chosen, and labels that change ask to run again", async () => {
  const { page, faults } = await classifyPage();
  const rows = [
    { title: "What a wonderful day this was", note: "terrible, awful, and broken from the very first day on", n: 1 },
    { title: "I hate it", note: "great, excellent, and a joy from the very first day on, I love it", n: 2 },
  ];
  await drop(page, "notes.jsonl", `${rows.map((row) => JSON.stringify(row)).join("\n")}\nbroken\n`);
  await page.locator("#many-words", { hasText: /^3 texts in/ }).waitFor();
  // None is called as texts usually are: the one with more to read is guessed.
  assert.equal(await page.getByLabel("Column of texts").inputValue(), "note");
  const labels = async () => (await save(page)).text.trim().split("\n").map((line) => JSON.parse(line));
  const found = await labels();
  assert.deepEqual(found.map(({ label }) => label), ["NEGATIVE", "POSITIVE", undefined]);
  assert.deepEqual(Object.keys(found[0]), ["title", "note", "n", "label", "score"]);
  assert.equal(found[2].line, "broken");
  assert.match(found[2].error, /^no JSON object/);
  await page.getByLabel("Column of texts").selectOption("title");
  await page.locator("#many-words", { hasText: /^3 texts in/ }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.id), "many-column");
  assert.deepEqual((await labels()).map(({ label }) => label), ["POSITIVE", "NEGATIVE", undefined]);

  await page.getByRole("textbox", { name: "Labels" }).fill("weather, hatred");
  await page.keyboard.press("Enter");
  await page.getByText("These results (3 of 3) are of the old ones").waitFor();
  await page.getByRole("button", { name: "Run again" }).click();
  await page.locator("#many-words", { hasText: /^3 texts in/ }).waitFor();
  for (const { label } of (await labels()).slice(0, 2)) assert.match(label, /^(weather|hatred)$/);
  await page.getByRole("button", { name: "Close the file" }).click();
  await page.getByText("Drop a CSV, TSV, JSONL or text file here").waitFor();
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("files that are no tables get a sentence, and the next one works", async () => {
  const { page, faults } = await classifyPage();
  const refused = page.locator("#many-note .failure");
  /** @type {[string, string | number[], RegExp][]} */
  const files = [
    ["empty.csv", "", /^This file cannot be used: there is no text in empty\.csv\. Choose another file\.$/],
    ["head.tsv", "id\ttext\n", /there is no text in head\.tsv/],
    ["numbers.jsonl", '{"n":1}\n{"n":2}\n', /numbers\.jsonl: none of the first rows \(2\) has a text; row 1: n is not a string/],
    ["picture.txt", [0x89, 0x50, 0x4e, 0x47, 0, 0, 0, 13], /picture\.txt: there are zero bytes in it, so it is no text/],
    ["table.parquet", "PAR1", /`trice classify --file` reads Parquet/],
  ];
  for (const [name, content, sentence] of files) {
    await drop(page, name, content);
    await refused.filter({ hasText: name }).waitFor();
    assert.match(await refused.textContent(), sentence);
  }
  await page.locator("#many-file").setInputFiles({ name: "lines.txt", mimeType: "text/plain", buffer: Buffer.from("Lovely film.\n\nAwful film.\n") });
  await page.locator("#many-words", { hasText: /^2 texts in/ }).waitFor();
  assert.equal(await refused.count(), 0);
  const lines = (await save(page)).text.split("\n").map((line) => line.split("\t").slice(0, 2));
  assert.deepEqual(lines, [["Lovely film.", "POSITIVE"], ["Awful film.", "NEGATIVE"], [""]]);
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("of 100,000 rows a hundred are drawn, and any is found while they are labelled", async () => {
  const { page, faults } = await classifyPage();
  const text = `text\n${Array.from({ length: 100_000 }, (_, i) => `row ${i} was a very good one and I would buy it again`).join("\n")}\n`;
  await drop(page, "long.csv", text);
  await page.locator("#many-words", { hasText: /^\d[\d,]* of 100,000 · / }).waitFor();
  assert.equal(await page.locator("#many-rows tr").count(), 100);
  await page.getByLabel("with the words").fill("row 99999 ");
  await page.locator("#many-rows", { hasText: /^100,000row 99999 was/ }).waitFor();
  assert.equal(await page.locator("#many-rows tr").count(), 1);
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("a text that cannot be labelled costs no other its label, and what fails on all is told once", async () => {
  const { page } = await newPage(site);
  await page.goto(site.url);
  const run = (failing) =>
    page.evaluate(async (failing) => {
      const { Labelling } = await import(new URL("web/labelling.js", document.baseURI).href);
      const calls = [];
      const model = {
        async classify(texts) {
          calls.push(texts.length);
          if (texts.some((text) => failing.test.includes(text))) throw Object.assign(new Error("too odd"), { name: failing.name });
          return texts.map((text) => ({ labels: [{ label: text, score: 1 }] }));
        },
      };
      const rows = [...Array(70).keys()].map((i) => (i === 2 ? { text: "?", error: "no text" } : { text: `t${i}` }));
      const labelling = new Labelling(rows, []);
      await labelling.run(async () => model);
      const wrong = labelling.results.flatMap((result, i) => (result.label === `t${i}` ? [] : [[i, result.error]]));
      return { status: labelling.status, n: labelling.results.length, wrong, error: labelling.error?.message, calls };
    }, failing);
  assert.deepEqual(await run({ name: "Invalid", test: ["t5", "t66"] }), {
    status: "done",
    n: 70,
    wrong: [[2, "no text"], [5, "too odd"], [66, "too odd"]],
    error: undefined,
    calls: [1, 63, ...Array(63).fill(1), 6, ...Array(6).fill(1)],
  });
  assert.deepEqual(await run({ name: "Invalid", test: ["a"] }), { status: "failed", n: 0, wrong: [], error: "too odd", calls: [1] });
  const lost = await run({ name: "Gpu", test: ["t66"] });
  assert.deepEqual([lost.status, lost.n, lost.error], ["failed", 64, "too odd"]);
  await page.context().close();
});
