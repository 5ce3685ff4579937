// Tasks as plain functions over a model, with the output shapes of transformers.js.

/** @typedef {import("./engine.js").Model} Model */
/** @typedef {import("./engine.js").Message} Message */
/** @typedef {import("./engine.js").Task} Task */

/** `model`: the built-in one, where there is one. @type {Record<Task, {model: string | null, make: (model: Model) => (...args: any[]) => Promise<any>}>} */
const TASKS = {
  "text-classification": { model: "builtin:sentiment", make: textClassification },
  "zero-shot-classification": { model: "builtin:embed", make: zeroShotClassification },
  "token-classification": { model: null, make: tokenClassification },
  "question-answering": { model: null, make: questionAnswering },
  "text-ranking": { model: "builtin:embed", make: textRanking },
  "fill-mask": { model: null, make: fillMask },
  "feature-extraction": { model: "builtin:embed", make: featureExtraction },
  "text-generation": { model: "builtin:stories", make: textGeneration },
};

/**
 * @param {Task} task
 * @param {(defaultName: string | null) => Promise<Model>} getModel
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
  /** @param {string | string[]} texts @param {{topK?: number, long?: import("./engine.js").Long, multiLabel?: boolean}} [options] */
  return async (texts, { topK = 1, ...options } = {}) => {
    const found = await model.classify([texts].flat(), options);
    const best = found.map(({ labels }) => labels.slice(0, topK));
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
    const found = await model.classify(sequences, { labels, ...options });
    const results = found.map((text, i) => ({
      sequence: sequences[i],
      labels: text.labels.map(({ label }) => label),
      scores: text.labels.map(({ score }) => score),
    }));
    return Array.isArray(texts) ? results : results[0];
  };
}

/** @param {Model} model */
function tokenClassification(model) {
  /** Places are those of JavaScript's strings. @param {string | string[]} texts @param {import("./engine.js").TagOptions} [options] */
  return async (texts, options = {}) => {
    const lists = (await model.tag([texts].flat(), options)).map(({ entities }) => entities);
    return Array.isArray(texts) ? lists : lists[0];
  };
}

/** @param {Model} model */
function questionAnswering(model) {
  /**
   * The answer, or with `topK` above 1 a list.
   * @param {string} question
   * @param {string} context
   * @param {{topK?: number} & import("./engine.js").AnswerOptions} [options]
   */
  return async (question, context, { topK = 1, ...options } = {}) => {
    const { answers } = await model.answer(question, context, { top: topK, ...options });
    return topK === 1 ? answers[0] : answers;
  };
}

/** @param {Model} model */
function textRanking(model) {
  /** Best first. @param {string} query @param {string[]} documents @param {{topK?: number, returnDocuments?: boolean}} [options] */
  return async (query, documents, { topK = documents.length, returnDocuments = false } = {}) => {
    const best = (await model.rank(query, documents)).slice(0, topK).map(({ index, score }) => ({ index, score }));
    return returnDocuments ? best.map((entry) => ({ ...entry, text: documents[entry.index] })) : best;
  };
}

/** @param {Model} model */
function fillMask(model) {
  /** A list per text; of a text with several hidden places a list of lists. @param {string | string[]} texts @param {{topK?: number}} [options] */
  return async (texts, { topK = 5 } = {}) => {
    const found = await model.fill([texts].flat(), { top: topK });
    const lists = found.map(({ masks }) => (masks.length === 1 ? masks[0] : masks));
    return Array.isArray(texts) ? lists : lists[0];
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
