// @ts-check
/** The page: one session at a time, drawn by the views whenever it says that something changed. */

import { Announcer } from "./announcer.js";
import { Composer } from "./composer.js";
import { ask, showEntry, showEntryMessage } from "./dialogs.js";
import { avatar, byId } from "./dom.js";
import { closeDrawers, isDrawerOpen, toggleDrawer } from "./drawers.js";
import { Session } from "./session.js";
import { drawLists, drawMembers } from "./sidebar.js";
import { Memory } from "./storage.js";
import { describeError, strings, translate } from "./strings.js";
import { Thread } from "./thread.js";
import { nameOfToken, takeTokenFromAddress } from "./token.js";

const DRAW_DELAY = 16; // milliseconds in which changes are drawn together; timers run in hidden pages, frames do not
const REFRESH = 60_000; // today becomes yesterday
const TOKEN_EXPIRED = 4003;
const TITLE = document.title;

const memory = new Memory(
  () => localStorage,
  () => sessionStorage,
);
const address = new URL("ws", location.href);
address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
address.hash = "";

translate(document);
const thread = new Thread();
const composer = new Composer();
const announcer = new Announcer();
const layout = byId("chat");
/** @type {Session | null} */
let session = null;
/** Whether a connection was lost since the last good one; the very first attempt needs no banner. */
let interrupted = false;
let drawing = false;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let countdown;

// ---- coming and going ----

/** @param {string} name @param {string | null} token */
function enter(name, token) {
  session?.stop();
  interrupted = false;
  notify("");
  memory.token = token;
  const known = token === null ? name : (nameOfToken(token) ?? (name || "token"));
  const current = new Session(address.href, known, memory, token === null ? {} : { token });
  session = current;
  current.addEventListener("change", draw);
  current.addEventListener("evicted", (event) => {
    const { room, code, reason } = /** @type {CustomEvent} */ (event).detail;
    notify(strings.leftRoom(room, describeError(code, reason)));
  });
  showEntryMessage("");
  if (memory.active === known) showChat();
  current.start();
}

function showChat() {
  byId("entry").hidden = true;
  layout.hidden = false;
  if (!memory.isKept) notify(strings.notKept);
  focusComposer();
}

/** @param {{wantsToken?: boolean, message?: string}} [why] */
function backToEntry({ wantsToken = false, message = "" } = {}) {
  session?.stop();
  session = null;
  memory.active = null;
  memory.token = null;
  document.title = TITLE;
  showEntry({ known: memory.names, wantsToken, isKept: memory.isKept, enter });
  showEntryMessage(message);
}

/** Whether the session has ended with what another name or token could mend; then the entry is shown again. */
function sendBack(/** @type {Session["connection"]} */ { state, code, reason }) {
  if (state !== "stopped" || code === undefined) return false;
  if (typeof code === "number" && code !== TOKEN_EXPIRED) return false;
  const wantsToken = code === "unauthorized" || code === TOKEN_EXPIRED;
  // Without a token so far, being asked for one is no mistake of the user's.
  const asked = code === "unauthorized" && memory.token === null;
  backToEntry({ wantsToken, message: asked ? "" : describeError(code, reason) });
  return true;
}

// ---- drawing ----

function draw() {
  if (drawing) return;
  drawing = true;
  setTimeout(() => {
    drawing = false;
    if (session !== null) drawSession(session);
  }, DRAW_DELAY);
}

/** @param {Session} current */
function drawSession(current) {
  const { connection, active, model } = current;
  if (sendBack(connection)) return;
  if (current.welcomed)
    memory.active = current.name; // not before: a refused name is nobody's
  else if (memory.active !== current.name) return drawEntry(connection);
  if (layout.hidden) showChat();
  drawConnection(connection);
  drawFault(current);
  drawLists(current, opened);
  drawHead(current);
  byId("empty").hidden = active !== null;
  byId("stage").hidden = byId("composer").hidden = active === null;
  thread.draw(current);
  announcer.draw(current);
  composer.draw(current);
  drawMembers(current, opened);
  byId("me-name").textContent = model.user;
  byId("me-avatar").replaceChildren(avatar(model.user));
  if (isLooking() && thread.atEnd) current.see();
}

/** @param {Session["connection"]} connection */
function drawEntry({ state, code, reason }) {
  if (state === "waiting") showEntryMessage(strings.errors.unreachable);
  else if (state === "stopped" && code !== undefined) showEntryMessage(describeError(code, reason));
  else if (state === "online") showEntryMessage("");
}

/** @param {Session} current */
function drawHead({ active, model }) {
  const room = active?.kind === "room";
  byId("title").textContent = active === null ? "" : room ? `# ${active.name}` : active.name;
  byId("title").hidden = active === null;
  byId("subtitle").textContent = active !== null && room && active.count > 0 ? strings.present(active.count) : "";
  byId("leave").hidden = byId("show-members").hidden = byId("members").hidden = !room;
  const unread = [...model.conversations.values()].reduce((sum, conversation) => sum + model.unread(conversation), 0);
  byId("elsewhere").hidden = unread === 0;
  const title = `${unread > 0 ? `(${unread}) ` : ""}${active === null ? "" : `${active.name} · `}${TITLE}`;
  if (document.title !== title) document.title = title;
}

/** @param {Session["connection"]} connection */
function drawConnection({ state, delay = 0, since, code, reason }) {
  if (state === "online") interrupted = false;
  if (state === "waiting" || state === "stopped") interrupted = true;
  layout.classList.toggle("offline", state !== "online");
  byId("banner").hidden = !interrupted;
  if (!interrupted) return say("");
  const seconds = Math.max(0, Math.ceil((since + delay - Date.now()) / 1000));
  const text =
    state === "waiting"
      ? strings.retryIn(seconds)
      : state === "connecting"
        ? strings.connecting
        : describeError(code ?? "other", reason);
  byId("banner-text").textContent = text;
  const button = byId("banner-button");
  button.hidden = state === "connecting";
  button.textContent = state === "waiting" ? strings.reconnectNow : strings.reload;
  button.onclick = () => (state === "waiting" ? session?.client.retryNow() : location.reload());
  say(state === "stopped" ? text : strings.errors.disconnected); // once, not at every second of the countdown
  clearTimeout(countdown);
  if (state === "waiting") countdown = setTimeout(draw, 1000);
}

/** @param {string} text for screen readers */
function say(text) {
  if (byId("status").textContent !== text) byId("status").textContent = text;
}

/** Faults of the server stay in view until the user has taken note. @param {Session} current */
function drawFault(current) {
  if (current.fault === null) return;
  const { code, reason, room } = current.fault;
  current.fault = null;
  notify(code === "hole" || code === "repeat" ? strings.broken(room) : describeError(code, reason));
}

/** @param {string} text that stays until it is dismissed */
function notify(text) {
  byId("notice").hidden = text === "";
  byId("notice-text").textContent = text;
}

// ---- looking ----

function isLooking() {
  return document.visibilityState === "visible" && document.hasFocus();
}

window.addEventListener("blur", () => session?.lookAway());
window.addEventListener("focus", () => session?.lookBack());
window.addEventListener("storage", ({ key }) => session?.remember(key));
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") session?.client.retryNow();
});
setInterval(draw, REFRESH);

// ---- what the user does ----

/** To the message field; not where that would open a keyboard on the screen. */
function focusComposer() {
  if (matchMedia("(pointer: fine)").matches) composer.focus();
  else byId("title").focus();
}

/** A conversation was picked. */
function opened() {
  closeDrawers();
  if (session !== null) drawSession(session); // so that there is a field to write in
  focusComposer();
}

/** @type {Record<string, (source: HTMLElement) => void>} */
const actions = {
  "show-list": (source) => toggleDrawer("list", source),
  "show-members": (source) => toggleDrawer("members", source),
  "close-drawers": () => closeDrawers(),
  "join-room": () => session !== null && ask("room", session, opened),
  "new-direct": () => session !== null && ask("direct", session, opened),
  "switch-user": () => backToEntry(),
  "dismiss-notice": () => {
    notify("");
    focusComposer();
  },
  leave: () => {
    if (session?.active) session.leave(session.active);
    if (session !== null) drawSession(session);
    byId("empty-join").focus();
  },
  skip: () => composer.focus(),
};
document.addEventListener("click", (event) => {
  const source = /** @type {Element} */ (event.target).closest("[data-action]");
  if (source instanceof HTMLElement) actions[source.dataset.action ?? ""]?.(source);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && isDrawerOpen()) closeDrawers();
  if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
    event.preventDefault();
    turn(event.key === "ArrowDown" ? 1 : -1);
  }
});

/** To the next or previous conversation of the lists. @param {number} step */
function turn(step) {
  if (session === null) return;
  const all = [...session.model.list("room"), ...session.model.list("direct")];
  const index = session.active === null ? -1 : all.indexOf(session.active);
  const next = all[(index + step + all.length) % all.length];
  if (next !== undefined) session.open(next);
}

const given = takeTokenFromAddress();
const token = given ?? memory.token;
if (token !== null) enter(memory.active ?? "", token);
else if (memory.active !== null) enter(memory.active, null);
else showEntry({ known: memory.names, wantsToken: false, isKept: memory.isKept, enter });
