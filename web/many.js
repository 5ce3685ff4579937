// Many texts of the Classify tab: a file dropped or chosen becomes a table that fills with labels, and a file again.

import { announce, byId, el, saveFile } from "./dom.js";
import { EngineError, openTable } from "./engine.js";
import { hasLabels, labelsChanged, labelWords, ownLabels } from "./labels.js";
import { Labelling } from "./labelling.js";
import { slots } from "./slots.js";
import { formatDuration, formatNumber, formatWait, sentence, t } from "./strings.js";
import { clearView, drawView, showRows, startView } from "./table.js";

/** @typedef {{column?: string, header?: boolean}} Options How the file is read. */

/** @typedef {object} Job A file being labelled.
 * @property {File} file
 * @property {Options} options
 * @property {import("./engine.js").Table} table
 * @property {Labelling} labelling
 * @property {import("./slots.js").Choice | null} choice The model that labels.
 */

/** Rows fetched from the table's worker at once. */
const PORTION = 4096;

const slot = slots.classify;

/** @type {Job | null} */
let job = null;
/** Counts files opened, so that a late one is dropped. */
let opened = 0;
/** Whether a drawing of the job is due. */
let isDue = false;

/** Whether a drop is a file of texts, and no model. @param {unknown[]} files @returns {files is [File]} */
export function areTexts(files) {
  const [file] = files;
  return files.length === 1 && file instanceof File && /\.(csv|tsv|tab|jsonl|ndjson|json|txt|parquet|pq)$/i.test(file.name);
}

/**
 * Labels the texts of a file, in place of those there were.
 * @param {File} file
 * @param {Options} [options]
 * @param {string} [focus] What was used to ask for it, or where reading begins.
 */
export async function openTexts(file, options = {}, focus = "many-title") {
  close();
  const id = ++opened;
  showNote(t("reading_file", { name: file.name }));
  try {
    const table = await openTable(file, options);
    const rows = await allRows(table, () => id === opened);
    if (rows === null) return table.close();
    job = { file, options, table, labelling: new Labelling(rows, ownLabels()), choice: slot.choice };
    showNote("");
    showFile(job);
    const ended = start(job);
    byId(focus).focus();
    byId("many-title").scrollIntoView();
    await ended;
  } catch (error) {
    // Whatever is wrong with it, another file is the next step.
    if (id === opened) showNote(t("error_Format", { message: /** @type {Error} */ (error).message }), true);
  }
}

/** All rows, in portions so that the page stays lively; null once nobody wants them. @param {import("./engine.js").Table} table @param {() => boolean} isWanted */
async function allRows(table, isWanted) {
  /** @type {import("./engine.js").Row[]} */
  const rows = [];
  while (rows.length < table.info.n_rows && isWanted()) {
    for (const row of await table.rows(rows.length, rows.length + PORTION)) rows.push(row);
  }
  return isWanted() ? rows : null;
}

/** Begins with the labels and the model as they are now. @param {Job} of */
async function start(of) {
  const labelling = new Labelling(of.labelling.rows, ownLabels());
  of.labelling = labelling;
  showRows(labelling);
  draw();
  labelling.addEventListener("change", () => {
    if (job?.labelling === labelling) drawSoon();
  });
  announce(t("many_begun", { n: formatNumber(labelling.rows.length) }));
  await goOn(of);
}

/** Runs what is left, once the model is there. @param {Job} of */
async function goOn(of) {
  const { labelling } = of;
  if (slot.status === "failed") slot.retry();
  of.choice = slot.choice;
  await labelling.run(async () => {
    const model = await slot.ready();
    if (!hasLabels(model)) throw new EngineError("Invalid", t("no_labels"));
    return model;
  });
  const { error, status } = labelling;
  if (status === "failed" && (error?.name === "Crash" || error?.name === "Gpu")) slot.fail(error);
  if (status === "done" && job === of) announce(t("many_done", { n: formatNumber(labelling.rows.length) }));
}

/** Ends what runs: its results would be of labels or of a model that are no longer those shown. */
function stopOutdated() {
  if (!job) return;
  const isSame = slot.choice === job.choice && ownLabels() === job.labelling.labels;
  if (!isSame && job.labelling.status !== "stopped") job.labelling.stop();
}

function close() {
  opened++;
  job?.labelling.stop();
  job?.table.close();
  job = null;
  clearView();
  showNote("");
  byId("many-zone").hidden = false;
  byId("many-job").hidden = true;
}

/** @param {Job} of */
function showFile({ file, table, options }) {
  const { columns, column, format, n_rows: n } = table.info;
  byId("many-zone").hidden = true;
  byId("many-job").hidden = false;
  byId("many-name").textContent = `${file.name} · ${t("n_rows", { n: formatNumber(n) })}`;
  byId("many-column").replaceChildren(...columns.map((name) => el("option", { value: name, selected: name === column }, name)));
  byId("many-columns").hidden = columns.length < 2;
  byId("many-headers").hidden = format !== "csv" && format !== "tsv";
  byId("many-header").checked = options.header ?? true;
}

/** Many batches may come between two frames. */
function drawSoon() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    draw();
  });
}

function draw() {
  if (!job) return;
  const { labelling } = job;
  const { status, rows, results } = labelling;
  byId("many-bar").value = results.length / rows.length;
  byId("many-words").replaceChildren(...words(labelling));
  const isRunning = status === "running";
  byId("many-pause").hidden = !isRunning;
  byId("many-go-on").hidden = status !== "paused" && status !== "failed";
  byId("many-again").hidden = status !== "stopped";
  const save = byId("many-save");
  save.disabled = results.length === 0;
  save.classList.toggle("main", status === "done");
  save.classList.toggle("plain", status !== "done");
  drawView();
}

/** How far it is. @param {Labelling} labelling @returns {(Node | string)[]} */
function words({ status, rows, results, rowsPerSecond, ms, nUnknown, error }) {
  const n = formatNumber(rows.length);
  const done = t("n_of", { done: formatNumber(results.length), total: n });
  if (status === "failed") return [done, " · ", el("span", { class: "failure", role: "alert" }, sentence(error))];
  if (status === "stopped") return [t("many_outdated", { done })];
  if (status === "waiting") return [done, " · ", t("waiting")];
  if (status === "paused") return [done, " · ", t("paused")];
  const speed = t("texts_per_second", { n: formatNumber(rowsPerSecond, rowsPerSecond < 10 ? 1 : 0) });
  if (status === "running") {
    const left = ((rows.length - results.length) / rowsPerSecond) * 1000;
    return [rowsPerSecond > 0 ? `${done} · ${speed} · ${t("time_left", { time: formatWait(left) })}` : done];
  }
  const nBad = results.filter((result) => "error" in result).length;
  const took = t("many_took", { n, time: formatDuration(ms) });
  const bad = nBad > 0 ? t("n_bad", { n: formatNumber(nBad) }) : "";
  const unknown = nUnknown > 0 ? t("many_unknown", { n: formatNumber(nUnknown) }) : "";
  return [[took, speed, bad, unknown].filter((part) => part !== "").join(" · ")];
}

/** @param {string} words @param {boolean} [isFailure] */
function showNote(words, isFailure = false) {
  byId("many-note").replaceChildren(isFailure ? el("span", { class: "failure", role: "alert" }, words) : words);
}

/** `reviews.csv` as `reviews-labelled.csv`: the rows that are done. */
async function save() {
  if (!job) return;
  const { table, labelling } = job;
  try {
    saveFile(table.name.replace(/(\.[^.]*)?$/, "-labelled$1"), await table.save(labelling.results.slice()));
  } catch (error) {
    showNote(sentence(error), true);
  }
}

/** Draws what depends on the language anew. */
export function drawMany() {
  if (!job) return;
  showFile(job);
  draw();
}

export function startMany() {
  const input = byId("many-file");
  byId("many-open").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files[0]) openTexts(input.files[0]);
    input.value = "";
  });
  byId("many-close").addEventListener("click", () => {
    close();
    byId("many-open").focus();
  });
  byId("many-column").addEventListener("change", () => {
    if (job) openTexts(job.file, { ...job.options, column: byId("many-column").value }, "many-column");
  });
  // Other columns have other names.
  byId("many-header").addEventListener("change", () => {
    if (job) openTexts(job.file, { header: byId("many-header").checked }, "many-header");
  });
  byId("many-pause").addEventListener("click", () => job?.labelling.pause());
  byId("many-go-on").addEventListener("click", () => job && goOn(job));
  byId("many-again").addEventListener("click", () => job && start(job));
  byId("many-save").addEventListener("click", save);
  labelsChanged.addEventListener("change", stopOutdated);
  slot.addEventListener("change", stopOutdated);
  startView();
}
