// @ts-check
/** The page: one session at a time, drawn by the views whenever it says that something changed. */

import { Composer } from "./composer.js";
import { ask, showEntry, showEntryMessage } from "./dialogs.js";
import { avatar, byId } from "./dom.js";
import { Session } from "./session.js";
import { drawLists, drawMembers } from "./sidebar.js";
import { Memory } from "./storage.js";
import { describeError, strings, translate } from "./strings.js";
import { Thread } from "./thread.js";

const DRAW_DELAY = 16; // milliseconds in which changes are drawn together; timers run in hidden pages, frames do not
const TITLE = document.title;

const memory = new Memory(localStorage, sessionStorage);
const address = new URL("ws", location.href);
address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
address.hash = "";

translate(document);
const thread = new Thread();
const composer = new Composer();
const layout = byId("chat");
/** @type {Session | null} */
let session = null;
/** Whether a connection was lost since the last good one; the very first attempt needs no banner. */
let interrupted = false;
let drawing = false;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let countdown;

// ---- coming and going ----

/** @param {string} name */
function enter(name) {
  session?.stop();
  interrupted = false;
  const current = new Session(address.href, name, memory);
  session = current;
  current.addEventListener("change", draw);
  current.addEventListener("evicted", (event) => {
    const { room, code, reason } = /** @type {CustomEvent} */ (event).detail;
    byId("status").textContent = strings.leftRoom(room, describeError(code, reason));
  });
  showEntryMessage("");
  if (memory.active === name) showChat();
  current.start();
}

function showChat() {
  byId("entry").hidden = true;
  layout.hidden = false;
  composer.focus();
}

function switchUser() {
  session?.stop();
  session = null;
  memory.active = null;
  document.title = TITLE;
  showEntry(memory.names, enter);
}

/** The hello was refused: back to the entry, with the reason. @param {string} message */
function sendBack(message) {
  switchUser();
  showEntryMessage(message);
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
  if (current.welcomed)
    memory.active = current.name; // not before: a refused name is nobody's
  else if (!drawEntry(current)) return;
  if (layout.hidden) showChat();
  drawBanner(connection);
  drawLists(current, closeDrawers);
  drawHead(current);
  byId("empty").hidden = active !== null;
  byId("stage").hidden = byId("composer").hidden = active === null;
  thread.draw(current);
  composer.draw(current);
  drawMembers(current, closeDrawers);
  byId("me-name").textContent = model.user;
  byId("me-avatar").replaceChildren(avatar(model.user));
  if (isLooking() && thread.atEnd) current.see();
}

/** @param {Session} current @returns {boolean} whether the chat can be shown already */
function drawEntry(current) {
  const { state, code, reason } = current.connection;
  if (state === "stopped" && code !== undefined) {
    sendBack(describeError(code, reason));
    return false;
  }
  if (memory.active === current.name) return true;
  showEntryMessage(state === "waiting" ? strings.errors.disconnected : "");
  return false;
}

/** @param {Session} current */
function drawHead({ active, model }) {
  const room = active?.kind === "room";
  byId("title").textContent = active === null ? "" : room ? `# ${active.name}` : active.name;
  byId("subtitle").textContent = active !== null && room && active.count > 0 ? strings.present(active.count) : "";
  byId("leave").hidden = byId("show-members").hidden = byId("members").hidden = !room;
  const unread = [...model.conversations.values()].reduce((sum, conversation) => sum + model.unread(conversation), 0);
  byId("elsewhere").hidden = unread === 0;
  document.title = `${unread > 0 ? `(${unread}) ` : ""}${active === null ? "" : `${active.name} · `}${TITLE}`;
}

/** @param {Session["connection"]} connection */
function drawBanner({ state, delay = 0, since, code, reason }) {
  if (state === "online") interrupted = false;
  if (state === "waiting" || state === "stopped") interrupted = true;
  const banner = byId("banner");
  banner.hidden = !interrupted;
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

// ---- looking ----

function isLooking() {
  return document.visibilityState === "visible" && document.hasFocus();
}

window.addEventListener("blur", () => session?.lookAway());
window.addEventListener("focus", () => session?.lookBack());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") session?.client.retryNow();
});

// ---- drawers, on narrow screens, and the members' column on wide ones ----

function closeDrawers() {
  layout.classList.remove("list-open", "members-open");
  if (matchMedia("(pointer: fine)").matches) composer.focus();
}

/** @type {Record<string, () => void>} */
const actions = {
  "show-list": () => layout.classList.add("list-open"),
  "show-members": () =>
    layout.classList.toggle(matchMedia("(max-width: 60rem)").matches ? "members-open" : "members-folded"),
  "close-drawers": closeDrawers,
  "join-room": () => session !== null && ask("room", session, closeDrawers),
  "new-direct": () => session !== null && ask("direct", session, closeDrawers),
  leave: () => session?.active && session.leave(session.active),
  "switch-user": switchUser,
};
document.addEventListener("click", (event) => {
  const source = /** @type {Element} */ (event.target).closest("[data-action]");
  if (source instanceof HTMLElement) actions[source.dataset.action ?? ""]?.();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeDrawers();
  if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) turn(event.key === "ArrowDown" ? 1 : -1);
});

/** To the next or previous conversation of the lists. @param {number} step */
function turn(step) {
  if (session === null) return;
  const all = [...session.model.list("room"), ...session.model.list("direct")];
  const index = session.active === null ? -1 : all.indexOf(session.active);
  const next = all[(index + step + all.length) % all.length];
  if (next !== undefined) session.open(next);
}

if (memory.active !== null) enter(memory.active);
else showEntry(memory.names, enter);
