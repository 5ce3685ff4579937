// One worker and the requests to it: calls by id over postMessage. Knows nothing of models.

/** An error from the engine: `name` says who can act (Io, Format, Unsupported, Limit, Quota, Gpu, Invalid, Cancelled, Crash). */
export class EngineError extends Error {
  /** @param {string} name @param {string} message */
  constructor(name, message) {
    super(message);
    this.name = name;
  }
}

/**
 * @typedef {object} Call
 * @property {Promise<any>} result What the method resolves to.
 * @property {() => void} cancel Asks the engine to stop this call at its next step.
 */

export class Connection {
  #worker = startWorker();
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void, onEvent?: (event: any) => void}>} */
  #calls = new Map();
  #nextId = 1;
  /** @type {Error | null} */
  #closed = null;

  constructor() {
    this.#worker.addEventListener("message", ({ data }) => this.#receive(data));
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.close(new EngineError("Crash", event.message || "the worker could not be started"));
    });
  }

  /**
   * Calls a method of the worker.
   * @param {string} method
   * @param {any} [args] Anything that can be cloned; files travel as handles.
   * @param {(event: any) => void} [onEvent]
   * @returns {Call}
   */
  call(method, args = {}, onEvent) {
    const id = this.#nextId++;
    const result = new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed);
      this.#calls.set(id, { resolve, reject, onEvent });
      this.#worker.postMessage({ id, method, args });
    });
    const cancel = () => {
      if (this.#calls.has(id)) this.#worker.postMessage({ cancel: id });
    };
    return { result, cancel };
  }

  /**
   * Ends the worker: the module's memory and the device's go with it. Calls under way fail with `reason`.
   * @param {Error} [reason]
   */
  close(reason = new EngineError("Cancelled", "the model was disposed of")) {
    if (this.#closed) return;
    this.#closed = reason;
    this.#worker.terminate();
    for (const call of this.#calls.values()) call.reject(reason);
    this.#calls.clear();
  }

  /** @param {any} message */
  #receive({ id, event, error, result, fatal }) {
    if (fatal !== undefined) return this.close(new EngineError("Crash", fatal));
    const call = this.#calls.get(id);
    if (!call) return;
    if (event !== undefined) {
      call.onEvent?.(event);
      return;
    }
    this.#calls.delete(id);
    if (error) call.reject(new EngineError(error.name, error.message));
    else call.resolve(result);
  }
}

/** A browser starts workers from the page's own origin only: to one from elsewhere, a CDN say, a script of two words leads. */
function startWorker() {
  const script = "./worker.js";
  const url = new URL(script, import.meta.url);
  // Bundlers know this very expression.
  if (url.origin === location.origin) return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  const leading = URL.createObjectURL(new Blob([`import ${JSON.stringify(url.href)};`], { type: "text/javascript" }));
  try {
    return new Worker(leading, { type: "module" });
  } finally {
    // The worker has the script's address resolved by now.
    setTimeout(() => URL.revokeObjectURL(leading), 60_000);
  }
}
