// Many texts through a model: in batches, in order, with pauses. Knows no page.

/** Texts asked for at once: enough to fill a device, few enough for a lively progress bar. */
const BATCH = 64;

/** Errors that are about one text, so that another may fare better. */
const ABOUT_A_TEXT = ["Invalid", "Limit"];

/** @import { LabelScore, Model, Row, RowResult } from "./engine.js" */

/** @typedef {"waiting" | "running" | "paused" | "done" | "stopped" | "failed"} Status */

/** Labels the texts of rows one batch after the other. Dispatches "change". */
export class Labelling extends EventTarget {
  /** @type {Status} */
  status = "waiting";
  /** What came of the first rows: of as many as are done. @type {RowResult[]} */
  results = [];
  /** Texts of which the model does not know many words. */
  nUnknown = 0;
  /** What made it fail. @type {any} */
  error = null;
  #leave = new AbortController();
  /** Time at work, without pauses. */
  #ms = 0;
  #isAtWork = false;

  /** @param {Row[]} rows @param {string[]} labels Of one's own; empty means the model's. */
  constructor(rows, labels) {
    super();
    this.rows = rows;
    this.labels = labels;
  }

  /** Rows labelled in a second of work; 0 before the first. */
  get rowsPerSecond() {
    return this.#ms > 0 ? (this.results.length / this.#ms) * 1000 : 0;
  }

  /** Time at work. */
  get ms() {
    return this.#ms;
  }

  /** Goes on behind the rows that are done, until all are or it is paused. @param {() => Promise<Model>} getModel */
  async run(getModel) {
    // The batch that a pause let finish is gone on from.
    if (this.#isAtWork) return this.#set("running");
    this.#isAtWork = true;
    this.#set("waiting");
    try {
      await this.#runBatches(await getModel());
    } catch (error) {
      this.error = error;
      if (this.status !== "stopped") this.#set("failed");
    } finally {
      this.#isAtWork = false;
    }
  }

  /** @param {Model} model */
  async #runBatches(model) {
    if (this.status === "stopped") return;
    this.#set("running");
    // What fails on any text is no fault of a row's.
    await model.classify(["a"], this.#options);
    while (this.#isRunning() && this.results.length < this.rows.length) await this.#batch(model);
    if (this.#isRunning()) this.#set("done");
  }

  /** Stops behind the batch at work; `run` goes on. */
  pause() {
    if (this.status === "running") this.#set("paused");
  }

  /** Stops for good: what is done stays, what is at work is dropped. */
  stop() {
    this.#leave.abort();
    this.#set("stopped");
  }

  /** @param {Model} model */
  async #batch(model) {
    const start = this.results.length;
    const begin = performance.now();
    const results = await this.#label(model, this.rows.slice(start, start + BATCH));
    if (this.status === "stopped") return;
    this.results.push(...results);
    this.#ms += performance.now() - begin;
    this.dispatchEvent(new Event("change"));
  }

  /** @param {Model} model @param {Row[]} rows @returns {Promise<RowResult[]>} */
  async #label(model, rows) {
    const good = rows.filter((row) => row.error === undefined);
    const found = await this.#labelTexts(model, good.map((row) => row.text));
    let next = 0;
    return rows.map(({ error }) => (error === undefined ? found[next++] : { error }));
  }

  /** All at once; one by one where some of them cannot be. @param {Model} model @param {string[]} texts @returns {Promise<RowResult[]>} */
  async #labelTexts(model, texts) {
    if (texts.length === 0) return [];
    try {
      const classified = await model.classify(texts, this.#options);
      this.nUnknown += classified.filter((text) => text.unknown_share !== undefined).length;
      return classified.map(({ labels: [best] }) => best);
    } catch (error) {
      const { name, message } = /** @type {Error} */ (error);
      if (!ABOUT_A_TEXT.includes(name)) throw error;
      if (texts.length === 1) return [{ error: message }];
      const results = [];
      for (const text of texts) results.push(...(await this.#labelTexts(model, [text])));
      return results;
    }
  }

  get #options() {
    return { labels: this.labels, signal: this.#leave.signal };
  }

  /** Asked anew, since others change it while a batch is at work. */
  #isRunning() {
    return this.status === "running";
  }

  /** @param {Status} status */
  #set(status) {
    this.status = status;
    this.dispatchEvent(new Event("change"));
  }
}
