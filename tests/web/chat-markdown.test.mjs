// Answers in Markdown: what they become, how they grow, and that nothing in them runs or asks for anything.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { markdownReady, streamAnswer } from "./answers.mjs";
import { newPage, openSite, shoot } from "./browser.mjs";

/** @type {Awaited<ReturnType<typeof openSite>>} */
let site;
before(async () => (site = await openSite()));
after(() => site?.close());

/** A page on which answers can be shown. @param {import("playwright-core").BrowserContextOptions} [options] */
async function openPage(options) {
  const opened = await newPage(site, options);
  await opened.page.goto(site.url);
  await opened.page.locator("#stage-words:text('Ready')").waitFor();
  await markdownReady(opened.page);
  return opened;
}

const LONG = `# Sorting by hand

Three steps, *in this order*:

1. Lay the cards out.
2. Pick the smallest; see \`argmin\` below.
   - It may stand anywhere.
   - Ties do not matter.
3. Put it down and **repeat**.

| cards | steps | by |
|:--|--:|:-:|
| 10 | 45 | hand |
| 100 | 4,950 | machine |

\`\`\`python
def selection_sort(cards):
    for i in range(len(cards)):
        smallest = min(range(i, len(cards)), key=lambda at: cards[at])
        cards[i], cards[smallest] = cards[smallest], cards[i]
    return cards  # the same list, which is rather a long line so that it has to be moved sideways on most screens
\`\`\`

> Premature optimization is the root of all evil.

Read on at [Wikipedia](https://en.wikipedia.org/wiki/Selection_sort), [by mail](mailto:a@example.org) or [later][ref].

- [x] sorted
- [ ] ~~shuffled~~

[ref]: https://example.org/later
`;

test("an answer in Markdown becomes elements", async () => {
  const { page, faults } = await openPage();
  await streamAnswer(page, LONG, 40);
  const text = page.locator(".answer .text");
  assert.equal(await text.locator("h2").textContent(), "Sorting by hand");
  assert.deepEqual(await text.locator("ol > li").count(), 3);
  assert.deepEqual(await text.locator("ol ul li").allTextContents(), ["It may stand anywhere.", "Ties do not matter."]);
  assert.deepEqual(await text.locator("tbody td.right").allTextContents(), ["45", "4,950"]);
  assert.equal(await text.locator(".code-head span").textContent(), "python");
  assert.match(await text.locator("pre code").textContent(), /^def selection_sort/);
  assert.equal(await text.locator("blockquote").textContent(), "Premature optimization is the root of all evil.");
  const links = await text.locator("a").evaluateAll((all) => all.map((a) => [a.textContent, a.getAttribute("href"), a.getAttribute("rel"), a.getAttribute("target")]));
  const safe = ["noopener noreferrer", "_blank"];
  assert.deepEqual(links, [
    ["Wikipedia en.wikipedia.org", "https://en.wikipedia.org/wiki/Selection_sort", ...safe],
    ["by mail a@example.org", "mailto:a@example.org", ...safe],
    ["later example.org", "https://example.org/later", ...safe],
  ]);
  await shoot(page, "markdown");
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await text.getByRole("button", { name: "Copy the code" }).click();
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^def selection_sort[^]*screens\n$/);
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("an answer that streams looks as if it had come at once, and its finished blocks are never touched", async () => {
  const { page, faults } = await openPage();
  // No address is defined at the end, which alone changes blocks before it.
  const text = LONG.replace("[later][ref]", "later").replace(/\n\[ref\].*\n$/, "\n");
  await streamAnswer(page, text, 100_000);
  const atOnce = await page.locator(".text").innerHTML();
  await page.evaluate(() => {
    const seen = /** @type {any} */ (window);
    seen.touched = [];
    new MutationObserver((records) => {
      const blocks = [...document.querySelector(".text").children];
      for (const { target } of records) {
        const block = blocks.findIndex((block) => block.contains(target));
        // The last block and the one before it, which ends where the last begins.
        if (block >= 0 && block < blocks.length - 2) seen.touched.push(block);
      }
    }).observe(document.getElementById("conversation"), { subtree: true, childList: true, characterData: true, attributes: true });
  });
  await streamAnswer(page, text, 3);
  assert.equal(await page.locator(".text").innerHTML(), atOnce);
  assert.deepEqual(await page.evaluate(() => /** @type {any} */ (window).touched), []);
  assert.deepEqual(faults, []);
  await page.context().close();
});

test("a long answer makes as many elements as it has, however often it grows", async () => {
  const { page } = await openPage();
  // Nodes that came into the page while a text streamed, for two lengths.
  const counts = await page.evaluate(async () => {
    const { Markdown } = await import(new URL("web/markdown.js", document.baseURI).href);
    const count = (/** @type {number} */ nBlocks) => {
      const view = new Markdown();
      let [text, nMade] = ["", 0];
      const observer = new MutationObserver(() => {});
      observer.observe(view.element, { childList: true, subtree: true });
      for (let i = 0; i < nBlocks; i++) {
        for (const words of ["A paragraph ", "of *some* ", "words.\n\n"]) view.show((text += words));
      }
      nMade = observer.takeRecords().reduce((sum, { addedNodes }) => sum + addedNodes.length, 0);
      return nMade;
    };
    return [count(50), count(500)];
  });
  assert.ok(counts[0] > 0 && counts[1] < counts[0] * 11, String(counts));
  await page.context().close();
});

test("what a model thinks is folded above the answer", async () => {
  const { page, faults } = await openPage();
  await streamAnswer(page, "\nIt is **4**.", 2, "Two and two.\n<b>Four</b>?");
  const thinking = page.locator(".answer details");
  assert.equal(await thinking.getAttribute("open"), null);
  assert.equal(await thinking.locator("summary").textContent(), "Thinking");
  assert.equal(await page.locator(".answer .text").textContent(), "It is 4.");
  await thinking.locator("summary").click();
  assert.equal(await thinking.locator("div").textContent(), "Two and two.\n<b>Four</b>?");
  await shoot(page, "thinking");
  for (const [thought, text, answer] of [
    ["", "No thought.", "No thought."],
    ["Cut off", "", ""],
    ["", "The mark `</think>` ends it.", "The mark </think> ends it."],
  ]) {
    await streamAnswer(page, text, 5, thought);
    assert.equal(await page.locator(".answer .text").textContent(), answer, text);
    assert.equal(await thinking.isVisible(), thought !== "", text);
    if (thought) assert.equal(await thinking.locator("div").textContent(), thought);
  }
  assert.deepEqual(faults, []);
  await page.context().close();
});

/** Attempts to run a script or to send a request, `HIT` being the address that must not be asked for. */
const ATTACKS = [
  "<script>window.ran = 1</script>",
  "<script src='HIT/script.js'></script>",
  "<img src=none onerror='window.ran = 1'>",
  "<img src='HIT/image'>",
  "<img srcset='HIT/set 2x'>",
  "<picture><source srcset='HIT/source'><img></picture>",
  "<svg onload='window.ran = 1'></svg>",
  "<svg><script>window.ran = 1</script></svg>",
  "<svg><image href='HIT/svg' /></svg>",
  "<svg><use href='HIT/use#a' /></svg>",
  "<svg><animate attributeName=x dur=1s onbegin='window.ran = 1' /></svg>",
  "<iframe srcdoc='<script>parent.ran = 1</script>'></iframe>",
  "<iframe src='javascript:parent.ran = 1'></iframe>",
  "<iframe src='HIT/frame'></iframe>",
  "<object data='HIT/object'></object>",
  "<embed src='HIT/embed'>",
  "<video poster='HIT/poster' src='HIT/video'></video>",
  "<audio autoplay src='HIT/audio'></audio>",
  "<link rel=stylesheet href='HIT/sheet'>",
  "<link rel=prefetch href='HIT/prefetch'>",
  "<style>@import 'HIT/import'; * { background: url(HIT/background) }</style>",
  "<p style='background: url(HIT/style)'>painted</p>",
  "<meta http-equiv=refresh content='0; url=HIT/refresh'>",
  "<base href='HIT/base/'>",
  "<form action='HIT/form'><input type=image src='HIT/input'><button autofocus>send</button></form>",
  "<details open ontoggle='window.ran = 1'><summary>open</summary></details>",
  "<input autofocus onfocus='window.ran = 1'>",
  "<a href='#' ping='HIT/ping'>ping</a>",
  "<div id=conversation></div><form name=getElementById></form>",
  "<math><mtext><table><mglyph><style><!--</style><img title='--><img src=none onerror=window.ran=1>'>",
  "<noscript><p title='</noscript><img src=none onerror=window.ran=1>'></noscript>",
  "[run](javascript:window.ran=1) and [run](JAVA&#115;CRIPT:window.ran=1) and <javascript:window.ran=1>",
  "[page](data:text/html,<script>window.ran=1</script>) and [blob](blob:null/1) and [file](file:///etc/passwd)",
  "[defined][x] elsewhere\n\n[x]: javascript:window.ran=1 'title'",
  "![tracked](HIT/markdown) and ![](HIT/bare)",
  "[![inner](HIT/inner)](javascript:window.ran=1)",
  "```html\n<script>window.ran = 1</script><img src='HIT/fenced'>\n```\n\n`<img src=none onerror=window.ran=1>`",
  "\u202esdrawkcab\u202c [good.example](https://bad.example/\" onmouseover=\"window.ran=1)",
];

/** Elements and attributes that answers may have. */
const ALLOWED = {
  elements: "H2 H3 H4 H5 H6 P UL OL LI BLOCKQUOTE HR PRE CODE EM STRONG DEL A TABLE THEAD TBODY TR TH TD DIV SPAN BUTTON svg path",
  attributes: "class href rel target title start tabindex role aria-label type viewBox aria-hidden d",
};

test("38 attacks in an answer run no script, send no request and leave no link to a script", async () => {
  assert.equal(ATTACKS.length, 38);
  let nHits = 0;
  const trap = createServer((_, response) => {
    nHits++;
    response.writeHead(204).end();
  });
  await new Promise((resolve) => trap.listen(0, "127.0.0.1", () => resolve(undefined)));
  after(() => trap.close());
  const hit = `http://127.0.0.1:${/** @type {any} */ (trap.address()).port}`;
  // With the page's content policy and, so that no one rule hides a fault of the other, without it.
  for (const bypassCSP of [false, true]) {
    const { page, faults } = await openPage({ bypassCSP });
    /** @type {string[]} */
    const requests = [];
    page.on("request", (request) => requests.push(request.url()));
    for (const attack of ATTACKS) {
      const text = attack.replaceAll("HIT", hit);
      await streamAnswer(page, `Before.\n\n${text}\n\nAfter.`, 9);
      const found = await page.evaluate(([elements, attributes]) => {
        const all = [...document.querySelectorAll(".answer .text, .answer .text *")].slice(1);
        const strange = all.filter((element) => !elements.includes(element.nodeName)).map((element) => element.nodeName);
        const names = all.flatMap((element) => element.getAttributeNames().filter((name) => !attributes.includes(name)));
        const links = all.map((element) => element.getAttribute("href")).filter((href) => href !== null && !/^(https?|mailto):/.test(href));
        return { strange, names, links, ran: /** @type {any} */ (window).ran };
      }, [ALLOWED.elements.split(" "), ALLOWED.attributes.split(" ")]);
      assert.deepEqual(found, { strange: [], names: [], links: [], ran: undefined }, text);
      assert.match(await page.locator(".text").textContent(), /Before\.[^]*After\./, text);
      for (const element of await page.locator(".text :is(a, p, code, summary)").all()) await element.hover({ force: true });
    }
    assert.deepEqual([requests, nHits, faults], [[], 0, []], `bypassCSP ${bypassCSP}`);
    // The trap works: a page that made HTML of them would be caught.
    if (bypassCSP) {
      await page.evaluate((html) => (document.querySelector(".text").innerHTML = html), ATTACKS.join("\n").replaceAll("HIT", hit));
      await page.waitForFunction(() => /** @type {any} */ (window).ran === 1);
      assert.ok(requests.length > 5, String(requests));
    }
    await page.context().close();
  }
});

test("no text becomes HTML anywhere on the page, and marks that turn the direction are shown", async () => {
  const { page } = await openPage();
  const refused = await page.evaluate(() => {
    try {
      document.body.innerHTML += "";
      return false;
    } catch (error) {
      return error instanceof TypeError;
    }
  });
  assert.ok(refused, "trusted types are not demanded");
  await streamAnswer(page, "a \u202eb\u202c c");
  assert.equal(await page.locator(".text").textContent(), "a [U+202E]b[U+202C] c");
  await page.context().close();
});
