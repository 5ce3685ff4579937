// Tasks as plain functions over a model, with the output shapes of transformers.js.

/** @typedef {import("./engine.js").Model} Model */
/** @typedef {import("./engine.js").Message} Message */
/** @typedef {import("./engine.js").Task} Task */

/** @type {Record<Task, {model: string, make: (model: Model) => (...args: any[]) => Promise<any>}>} */
const TASKS = {
  "text-classification": { model: "builtin:sentiment", make: textClassification },
  "zero-shot-classification": { model: "builtin:sentiment", make: zeroShotClassification },
  "feature-extraction": { model: "builtin:sentiment", make: featureExtraction },
  "text-generation": { model: "builtin:stories", make: textGeneration },
};

/**
 * @param {Task} task
 * @param {(defaultName: string) => Promise<Model>} getModel
 * @returns {Promise<import("./engine.js").Pipeline>}
 */
export async function pipelineOver(task, getModel) {
  const entry = TASKS[task];
  if (!entry) throw new TypeError(`unknown task ${task}: there are ${Object.keys(TASKS).join(", ")}`);
  const model = await getModel(entry.model);
  return Object.assign(entry.make(model), { model, dispose: () => model.dispose() });
}

/** @param {Model} model */
function textClassification(model) {
  /** @param {string | string[]} texts @param {{topK?: number}} [options] */
  return async (texts, { topK = 1 } = {}) => {
    const lists = await model.classify([texts].flat());
    const best = lists.map((list) => list.slice(0, topK));
    if (topK === 1) return best.flat();
    return Array.isArray(texts) ? best : best[0];
  };
}

/** @param {Model} model */
function zeroShotClassification(model) {
  /** @param {string | string[]} texts @param {string[]} labels @param {{template?: string, multiLabel?: boolean}} [options] */
  return async (texts, labels, options = {}) => {
    // Without labels the model's own head would answer, which is another task.
    if (labels.length === 0) throw new TypeError("labels must hold one label at least");
    const sequences = [texts].flat();
    const lists = await model.classify(sequences, { labels, ...options });
    const results = lists.map((list, i) => ({
      sequence: sequences[i],
      labels: list.map(({ label }) => label),
      scores: list.map(({ score }) => score),
    }));
    return Array.isArray(texts) ? results : results[0];
  };
}

/** @param {Model} model */
function featureExtraction(model) {
  /**
   * One vector per text, `(n_texts, dim)`.
   * @param {string | string[]} texts
   * @param {{pooling?: "mean" | "cls" | "last", normalize?: boolean}} [options]
   */
  return (texts, options = {}) => model.embed([texts].flat(), options);
}

/** @param {Model} model */
function textGeneration(model) {
  /** @param {string | Message[]} input @param {import("./engine.js").GenerateOptions} [options] */
  return async (input, options = {}) => {
    if (typeof input === "string") {
      const { text } = await model.generate({ prompt: input, raw: true }, options);
      return [{ generated_text: input + text }];
    }
    const { text } = await model.generate({ messages: input }, options);
    return [{ generated_text: [...input, { role: "assistant", content: text }] }];
  };
}
