// The scripts of the page against their JSDoc types.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(new URL(".", import.meta.url));

test("the types of web/*.js hold", () => {
  const { status, stdout } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "--project", "tsconfig.json"], { cwd: HERE, encoding: "utf8" });
  assert.equal(status, 0, stdout);
});
