// Files of many texts (CSV, TSV, JSONL, plain lines): their rows, and the same file with labels behind them. A worker of its own
// holds the file; it needs no device and no model.

import { Connection } from "./connection.js";

/** @import * as api from "./engine.js" */

/** @implements {api.Table} */
class WorkerTable {
  /** @type {Connection} */
  #connection;

  /** @param {Connection} connection @param {string} name @param {api.TableInfo} info */
  constructor(connection, name, info) {
    this.#connection = connection;
    this.name = name;
    this.info = info;
  }

  /** @type {api.Table["rows"]} */
  rows(start, end) {
    return this.#connection.call("tableRows", { start, end }).result;
  }

  /** @type {api.Table["save"]} */
  async save(results) {
    return new Blob([await this.#connection.call("saveTable", { results }).result]);
  }

  close() {
    this.#connection.close();
  }
}

/** @type {typeof api.openTable} */
export async function openTable(file, options = {}) {
  const connection = new Connection();
  try {
    const info = await connection.call("openTable", { name: file.name, blob: file, options }).result;
    return new WorkerTable(connection, file.name, info);
  } catch (error) {
    connection.close();
    throw error;
  }
}
