// The field for names of the hub and addresses: of a repository that holds several models it shows them to choose from.

import { byId, el } from "./dom.js";
import { repoChoices } from "./engine.js";
import { settings } from "./settings.js";
import { formatBytes, sentence, t } from "./strings.js";

/** `owner/repo` is the hub's; addresses and names with a scheme stand as they are. @param {string} text */
export function parseModelName(text) {
  return /^[\w.-]+\/[\w.-]+(@[\w./-]+)?(:[^/].*)?$/.test(text) && !/^(hf|builtin|random):/.test(text) ? `hf:${text}` : text;
}

/** A name of the hub that does not say which of a repository's models is meant. @param {string} name */
const isOpen = (name) => /^hf:[^:]+$/.test(name);

/** @param {(name: string) => void} use Loads the model of that name. */
export function startHub(use) {
  byId("hub-form").addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    const name = parseModelName(byId("hub-name").value.trim());
    byId("hub-files").replaceChildren();
    byId("hub-note").textContent = "";
    if (isOpen(name)) await choose(name, use);
    else if (name) use(name);
  });
  byId("open-mirror").addEventListener("click", () => {
    byId("models").close();
    byId("settings").showModal();
    byId("settings-form").elements.namedItem("endpoint").focus();
  });
}

/** @param {string} name @param {(name: string) => void} use */
async function choose(name, use) {
  const note = byId("hub-note");
  note.textContent = t("hub_asking");
  try {
    const choices = await repoChoices(name, { endpoint: settings.endpoint || undefined });
    note.textContent = "";
    // One model needs no choice; where there is none, loading says what was looked for.
    if (choices.length <= 1) return use(name);
    const words = t("hub_files", { n: choices.length, repo: name.replace(/^hf:/, "") });
    note.textContent = settings.endpoint ? `${words} (${t("mirror_in_use", { mirror: settings.endpoint })})` : words;
    byId("hub-files").replaceChildren(...choices.map((choice) => row(name, choice, use)));
  } catch (error) {
    note.textContent = sentence(error);
  }
}

/** @param {string} name @param {import("./engine.js").RepoChoice} choice @param {(name: string) => void} use */
function row(name, { pick, n_bytes: bytes }, use) {
  const action = bytes === null ? t("load") : t("download", { size: formatBytes(bytes) });
  const button = el("button", { type: "button", class: "plain", onclick: () => use(`${name}:${pick}`) }, action);
  return el("li", {}, el("span", {}, el("strong", {}, pick)), button);
}
