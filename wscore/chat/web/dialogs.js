// @ts-check
/** The two places that ask for a name: the entry page, and the dialog for a room or a person. */

import { avatar, byId, element } from "./dom.js";
import { byName } from "./names.js";
import { describeError, strings } from "./strings.js";

/** @typedef {import("./session.js").Session} Session */

/** One letter, digit or sign of a name; the server counts and compares more thoroughly. */
const NAME = /^[\p{L}\p{M}\p{Nd}\-_.]{1,64}$/u;
const OFFERED = 50; // names to choose from

/**
 * @typedef {object} Entry
 * @property {string[]} known names of this browser
 * @property {boolean} wantsToken whether the server asked for a token
 * @property {boolean} isKept whether the browser remembers anything
 * @property {(name: string, token: string | null) => void} enter
 */

/** Show the entry page. @param {Entry} entry */
export function showEntry({ known, wantsToken, isKept, enter }) {
  byId("entry").hidden = false;
  byId("chat").hidden = true;
  byId("entry-known").hidden = known.length === 0 || wantsToken;
  byId("entry-names").replaceChildren(
    ...known.map((name) =>
      element(
        "li",
        {},
        element("button", { type: "button", click: () => enter(name, null) }, avatar(name), element("bdi", {}, name)),
      ),
    ),
  );
  byId("entry-token-part").hidden = !wantsToken;
  byId("entry-name-part").hidden = wantsToken;
  byId("entry-token").required = wantsToken;
  byId("entry-name").required = !wantsToken;
  byId("entry-kept").hidden = isKept;
  byId("entry-form").onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    const name = byId("entry-name").value.trim();
    const token = wantsToken ? byId("entry-token").value.trim() : null;
    if (token !== "" && (wantsToken || name !== "")) enter(name, token);
  };
  byId(wantsToken ? "entry-token" : "entry-name").focus();
}

/** @param {string} message */
export function showEntryMessage(message) {
  if (byId("entry-error").textContent !== message) byId("entry-error").textContent = message;
  const field = byId(byId("entry-token-part").hidden ? "entry-name" : "entry-token");
  field.setAttribute("aria-invalid", String(message !== ""));
}

/**
 * Ask for the name of a room or a person, and open it.
 * @param {"room" | "direct"} kind @param {Session} session @param {() => void} opened
 */
export function ask(kind, session, opened) {
  const dialog = byId("ask");
  const room = kind === "room";
  byId("ask-title").textContent = room ? strings.joinRoom : strings.newDirect;
  byId("ask-label").textContent = room ? strings.roomName : strings.personName;
  byId("ask-hint").textContent = room ? strings.roomHint : "";
  byId("ask-go").textContent = room ? strings.join : strings.open;
  byId("ask-choices-title").textContent = room ? strings.openRooms : strings.presentPeople;
  byId("ask-name").value = "";
  byId("ask-cancel").onclick = () => dialog.close();
  const complain = (/** @type {string} */ message) => {
    byId("ask-error").textContent = message;
    byId("ask-name").setAttribute("aria-invalid", String(message !== ""));
  };
  complain("");

  const go = async (/** @type {string} */ name) => {
    if (!NAME.test(name.normalize("NFC"))) return complain(strings.errors.invalid_name);
    if (room && session.client.state !== "online") return complain(strings.errors.disconnected);
    try {
      if (room) await session.joinRoom(name);
      else session.openDirect(name);
      dialog.close();
      opened();
    } catch (error) {
      const { code, message } = /** @type {any} */ (error);
      complain(describeError(code, message));
    }
  };
  byId("ask-form").onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    const name = byId("ask-name").value.trim().replace(/^[#@]/, "");
    if (name !== "") go(name);
  };
  offer([], go);
  dialog.showModal();
  if (room) offerRooms(session, go);
  else offer(personsOf(session), go);
}

/** @typedef {{name: string, count: number | null}} Choice a room with its members, or a person */

/** @param {Choice[]} choices @param {(name: string) => void} go */
function offer(choices, go) {
  byId("ask-choices").hidden = choices.length === 0;
  byId("ask-list").replaceChildren(
    ...choices.slice(0, OFFERED).map(({ name, count }) => {
      const face = count === null ? avatar(name) : element("span", { class: "hash", "aria-hidden": "true" }, "#");
      face.classList.add("small");
      const made = element("button", { type: "button", class: "entry-button", click: () => go(name) }, face);
      made.append(element("bdi", { class: "name" }, name));
      if (count) made.append(element("span", { class: "muted small" }, strings.present(count)));
      return element("li", {}, made);
    }),
  );
}

/** @param {Session} session @param {(name: string) => void} go */
async function offerRooms(session, go) {
  const rooms = await session.client.rooms().catch(() => []);
  const mine = new Set(session.model.list("room").map(({ name }) => name));
  offer(
    rooms.filter(({ room }) => !mine.has(room)).map(({ room, count }) => ({ name: room, count })),
    go,
  );
}

/** Those present in the user's rooms. @param {Session} session @returns {Choice[]} */
function personsOf({ model }) {
  const present = new Set(model.list("room").flatMap(({ members }) => [...members.values()]));
  const others = [...present].filter((name) => !model.isMe(name)).sort(byName);
  return others.map((name) => ({ name, count: null }));
}
