/** What becomes a link in a message, and what does not. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { piecesOf } from "../../wscore/chat/web/links.js";

const links = (text) => piecesOf(text).flatMap(({ text: shown, href }) => (href === undefined ? [] : [[shown, href]]));

const found = {
  "see https://example.org/a?b=c#d now": "https://example.org/a?b=c#d",
  "(https://example.org/wiki/Trio_(library))": "https://example.org/wiki/Trio_(library)",
  "HTTP://EXAMPLE.ORG": "HTTP://EXAMPLE.ORG",
  "https://example.org/, and": "https://example.org/",
  "https://example.org/a.b...": "https://example.org/a.b",
  "看 https://example.org/路径。": "https://example.org/路径",
  "“https://example.org/x”": "https://example.org/x",
  "<https://example.org/>": "https://example.org/",
  "https://example.org/\u202egro.live": "https://example.org/",
  "http://127.0.0.1:8765/": "http://127.0.0.1:8765/",
};
for (const [text, address] of Object.entries(found)) {
  test(`a link: ${text}`, () => {
    const [[shown, href]] = links(text);
    assert.equal(shown, address);
    assert.match(href, /^https?:\/\//);
  });
}

for (const text of [
  "javascript:alert(1)",
  "javascript://example.org/%0aalert(1)",
  "data:text/html,<script>alert(1)</script>",
  "vbscript:x file:///etc/passwd ftp://example.org blob:https",
  "java\nscript:alert(1)",
  "https://bank.example@evil.example/",
  "https://user:secret@example.org/",
  "https://",
  "https:///",
  "http://[::1",
  "xhttps://example.org",
  `https://example.org/${"x".repeat(3000)}`,
]) {
  test(`no link: ${text.slice(0, 60)}`, () => assert.deepEqual(links(text), []));
}

test("the pieces joined are the text, whatever it holds", () => {
  let state = 7;
  const next = (count) => (state = (state * 48271) % 0x7fffffff) % count;
  const parts = ["https://", "http:", "a.example", "/", "(", ")", ".", " ", "\u202e", "<b>", "😀", "@", "\n", "路", '"', "]"];
  let count = 0;
  for (let round = 0; round < 3000; round += 1) {
    const text = Array.from({ length: next(14) }, () => parts[next(parts.length)]).join("");
    const pieces = piecesOf(text);
    assert.equal(pieces.map((piece) => piece.text).join(""), text);
    for (const { href } of pieces) {
      if (href === undefined) continue;
      count += 1;
      assert.match(href, /^https?:\/\/[^@]*$|^https?:\/\/[^/@]+\//);
    }
  }
  assert.ok(count > 50, "there were links to look at");
});

test("a long text without a link takes no long time to be looked through", () => {
  assert.equal(piecesOf(`https://${"(".repeat(4000)}`).length, 1);
  assert.equal(piecesOf("http".repeat(1000)).length, 1);
});
