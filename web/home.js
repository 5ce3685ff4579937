// Where a model and its forks live: a worker with a device and the model on it. Made once, and again where either is lost.

import { Connection, EngineError } from "./connection.js";

/** How often in a row a call may lose the device without having heard anything from it. */
const MAX_VAIN = 2;

/** Between tries to get a device again: a browser starts its GPU process anew in its own time. The last one is not waited after. */
const PAUSES_MS = [300, 1000, 3000, null];

/** @typedef {import("./engine.js").LoadOptions} LoadOptions */

export class Home {
  #source;
  #options;
  /** A head in place of the model's own, as the worker takes it. @type {any} */
  #head = null;
  #connection = new Connection();
  /** Ends once the model is there again; rejects where it cannot be. @type {Promise<void>} */
  #return = Promise.resolve();
  /** Those that live here: a model and its forks. @type {Set<object>} */
  users = new Set();
  /** Calls of those under way. */
  #nAtWork = 0;
  /** When the last of them ended. */
  #rested = performance.now();
  /** @type {import("./engine.js").DeviceInfo} */
  device = /** @type {any} */ (null);
  /** @type {import("./engine.js").ModelInfo} */
  info = /** @type {any} */ (null);

  /** @param {any} source As the worker takes it. @param {Omit<LoadOptions, "signal">} options */
  constructor(source, options) {
    this.#source = source;
    this.#options = options;
  }

  /** Opens the device and loads the model. @param {AbortSignal} [signal] */
  async enter(signal) {
    const { device, counts, tune, onProgress, onLost, ...options } = this.#options;
    const connection = this.#connection;
    const abort = () => connection.close(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      this.device = await connection.call("open", { device, counts }).result;
      if (tune) await connection.call("tune").result;
      this.info = await connection.call("load", { source: this.#source, options: defined(options) }, onProgress).result;
      if (this.#head) this.info = await connection.call("loadHead", { source: this.#head }).result;
    } catch (error) {
      connection.close(/** @type {Error} */ (error));
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /**
   * Calls a method. Where device or module are lost under it the model comes back, and it is called again.
   * @param {string} method
   * @param {() => any} args What is called with, asked for at every call.
   * @param {{signal?: AbortSignal, onEvent?: (event: any) => void}} [options]
   */
  async work(method, args, options) {
    this.#nAtWork += 1;
    try {
      return await this.#insist(method, args, options);
    } finally {
      this.#nAtWork -= 1;
      this.#rested = performance.now();
    }
  }

  /** Milliseconds since the last call ended; null while one is under way. */
  get idleMs() {
    return this.#nAtWork > 0 ? null : performance.now() - this.#rested;
  }

  /** @param {string} method @param {() => any} args @param {{signal?: AbortSignal, onEvent?: (event: any) => void}} [options] @returns {Promise<any>} */
  async #insist(method, args, { signal, onEvent } = {}) {
    let nVain = 0;
    const hear = (/** @type {any} */ event) => {
      nVain = 0;
      onEvent?.(event);
    };
    while (true) {
      const connection = this.#connection;
      try {
        return await cancellable(connection.call(method, args(), hear), signal);
      } catch (error) {
        nVain += 1;
        if (!isLoss(error) || this.users.size === 0 || signal?.aborted || nVain > MAX_VAIN) throw asTold(error);
        await this.#comeBack(connection);
      }
    }
  }

  /** Calls a method once. @param {string} method @param {any} [args] @param {(event: any) => void} [onEvent] */
  call(method, args, onEvent) {
    return this.#connection.call(method, args, onEvent).result;
  }

  /** Loads a head over the model, which it keeps from now on. @param {any} source */
  async loadHead(source) {
    this.info = await this.work("loadHead", () => ({ source }));
    this.#head = source;
  }

  /** Lets go of worker and device. */
  close() {
    this.users.clear();
    this.#connection.close();
  }

  /** A worker in place of the lost one, for all whose calls were lost with it. @param {Connection} lost */
  #comeBack(lost) {
    if (this.#connection === lost) {
      lost.close(new EngineError("Lost", "the device was lost"));
      this.#return = this.#enterAgain();
      this.#options.onLost?.(this.#return);
    }
    return this.#return;
  }

  async #enterAgain() {
    for (const pause of PAUSES_MS) {
      this.#connection = new Connection();
      try {
        return await this.enter();
      } catch (error) {
        const { name, message } = /** @type {Error} */ (error);
        const isFinal = !["Unsupported", "Gpu", "Crash"].includes(name) || this.users.size === 0;
        if (isFinal || pause === null) throw new EngineError("Gpu", `the GPU was lost and did not come back: ${message}`);
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
  }
}

/** @param {any} error */
const isLoss = (error) => error?.name === "Lost" || error?.name === "Crash";

/** A loss without return is a fault of the GPU, as callers know it. @param {any} error */
const asTold = (error) => (error?.name === "Lost" ? new EngineError("Gpu", error.message) : error);

/** Awaits a call and cancels it when the signal aborts. @param {import("./connection.js").Call} call @param {AbortSignal} [signal] */
async function cancellable(call, signal) {
  if (signal?.aborted) call.cancel();
  signal?.addEventListener("abort", call.cancel, { once: true });
  try {
    return await call.result;
  } finally {
    signal?.removeEventListener("abort", call.cancel);
  }
}

/** Without the fields that are undefined: the engine refuses what it does not know. @param {object} options */
export function defined(options) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
