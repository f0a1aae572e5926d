// @ts-check
/** The two places that ask for a name: the entry page, and the dialog for a room or a person. */

import { avatar, byId, element } from "./dom.js";
import { describeError, strings } from "./strings.js";

/** @typedef {import("./session.js").Session} Session */

/** Show the entry page. @param {string[]} known names of this browser @param {(name: string) => void} enter */
export function showEntry(known, enter) {
  byId("entry").hidden = false;
  byId("chat").hidden = true;
  byId("entry-known").hidden = known.length === 0;
  byId("entry-names").replaceChildren(
    ...known.map((name) =>
      element("li", {}, element("button", { type: "button", click: () => enter(name) }, avatar(name), name)),
    ),
  );
  byId("entry-form").onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    const name = byId("entry-name").value.trim();
    if (name !== "") enter(name);
  };
  byId("entry-name").focus();
}

/** @param {string} message */
export function showEntryMessage(message) {
  byId("entry-error").textContent = message;
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
  byId("ask-error").textContent = "";
  byId("ask-name").value = "";
  byId("ask-choices").hidden = true;
  byId("ask-cancel").onclick = () => dialog.close();

  const go = async (/** @type {string} */ name) => {
    try {
      if (room) await session.joinRoom(name);
      else session.openDirect(name);
      dialog.close();
      opened();
    } catch (error) {
      const { code, message } = /** @type {any} */ (error);
      byId("ask-error").textContent = describeError(code, message);
    }
  };
  byId("ask-form").onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    const name = byId("ask-name").value.trim().replace(/^[#@]/, "");
    if (name !== "") go(name);
  };
  dialog.showModal();
  if (room) offerRooms(session, go);
}

/** @param {Session} session @param {(name: string) => void} go */
async function offerRooms(session, go) {
  const rooms = await session.client.rooms().catch(() => []);
  const mine = new Set(session.model.list("room").map(({ name }) => name));
  const others = rooms.filter(({ room }) => !mine.has(room));
  byId("ask-choices").hidden = others.length === 0;
  byId("ask-list").replaceChildren(
    ...others.map(({ room, count }) =>
      element(
        "li",
        {},
        element(
          "button",
          { type: "button", class: "entry-button", click: () => go(room) },
          element("span", { class: "hash", "aria-hidden": "true" }, "#"),
          element("span", { class: "name" }, room),
          element("span", { class: "muted small" }, strings.present(count)),
        ),
      ),
    ),
  );
}
