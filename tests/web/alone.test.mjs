/** client.js is one file that can be copied alone: it imports nothing, in none of the ways there are. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

/** The places outside comments where a module asks for another. */
function imports(source) {
  const code = source.replaceAll(/\/\*.*?\*\/|(?<![:"'`\w])\/\/[^\n]*/gs, "");
  return code.match(/\b(import(?!s\b)|require\s*\(|export\b[^;]*\bfrom\s*["'])/g) ?? [];
}

test("client.js imports nothing", async () => {
  const source = await readFile(new URL("../../wscore/chat/web/client.js", import.meta.url), "utf8");
  assert.match(source, /^export class ChatClient\b/m);
  assert.deepEqual(imports(source), []);
});

const ways = [
  'import { Log } from "./log.js";',
  'import "./polyfill.js";',
  'import\n  json from "./limits.json" with { type: "json" };',
  'export * from "./names.js";',
  "export {\n  foldName\n} from './names.js';",
  'const { Log } = await import("./log.js");',
  'const { WebSocket } = require("ws");',
  "const here = import.meta.url;",
];
for (const way of ways) {
  test(`that is noticed: ${JSON.stringify(way)}`, () => {
    assert.equal(imports(`// a comment\n${way} // wss://chat.example\n/* import("./x.js") */ let a;\n`).length, 1);
    assert.equal(imports(`/**\n * ${way.replaceAll("\n", "\n * ")}\n */\n// ${way.replaceAll("\n", " ")}\n`).length, 0);
  });
}
