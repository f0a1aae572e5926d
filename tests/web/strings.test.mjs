/** The page's sentences: the same ones in both languages. */

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";

import { CHINESE, describeError, ENGLISH } from "../../wscore/chat/web/strings.js";

const web = new URL("../../wscore/chat/web/", import.meta.url);
const shape = (table) =>
  Object.fromEntries(
    Object.entries(table).map(([key, value]) => [key, typeof value === "object" ? shape(value) : typeof value]),
  );

test("both languages say the same things", () => assert.deepEqual(shape(CHINESE), shape(ENGLISH)));

test("nothing in Chinese is in English", () => {
  const said = (table) =>
    Object.values(table).flatMap((value) =>
      typeof value === "object" ? said(value) : [typeof value === "function" ? value(7, 7) : value],
    );
  const chinese = { ...CHINESE, typing: () => CHINESE.typing(["7"]) };
  for (const text of said(chinese)) {
    assert.match(text, /[\u4e00-\u9fff]/u);
    assert.doesNotMatch(text.replaceAll(/Shift|Enter/g, ""), /[a-z]{2,}/iu, text);
  }
});

test("every sentence that the page asks for exists, and every one is asked for", async () => {
  const files = (await readdir(web)).filter((name) => /\.(js|html)$/.test(name) && name !== "strings.js");
  const source = (await Promise.all(files.map((name) => readFile(new URL(name, web), "utf8")))).join("\n");
  const asked = new Set(
    [...source.matchAll(/strings\.(?!js\b)(\w+)|data-(?:text|label|placeholder)="(\w+)"/g)].map(([, a, b]) => a ?? b),
  );
  assert.deepEqual([...asked].filter((key) => !(key in ENGLISH)), []);
  assert.deepEqual(Object.keys(ENGLISH).filter((key) => !asked.has(key)), []);
});

test("an error that the page does not know is told in the server's words", () => {
  assert.equal(describeError("name_taken"), ENGLISH.errors.name_taken);
  assert.equal(describeError("of_a_later_version", "The server's words."), "The server's words.");
  assert.equal(describeError("of_a_later_version"), ENGLISH.errors.other);
});
