// @ts-check
/** The lists beside the conversation: rooms, direct conversations, and the members of the open room. */

import { avatar, byId, element, icon, reconcile } from "./dom.js";
import { byName } from "./names.js";
import { strings } from "./strings.js";

/** Members shown in the list; the count says how many there are. */
const MEMBERS_SHOWN = 200;

/** @typedef {import("./session.js").Session} Session @typedef {import("./model.js").Conversation} Conversation */

/** @param {Session} session @param {() => void} opened called when the user picked a conversation */
export function drawLists(session, opened) {
  const { model, active } = session;
  for (const kind of /** @type {const} */ (["room", "direct"])) {
    const conversations = model.list(kind);
    const items = conversations.map((conversation) => ({
      key: conversation.key,
      kind,
      name: conversation.name,
      count: conversation.count,
      unread: model.unread(conversation),
      open: conversation === active,
      present: kind === "direct" && model.isPresent(conversation.name),
      draft: conversation !== active && conversation.draft !== "",
      failed: conversation !== active && conversation.pending.some(({ state }) => state === "failed"),
    }));
    reconcile(
      byId(`${kind}s`),
      items,
      ({ key }) => key,
      (item) => entry(session, item, opened),
    );
    byId(`no-${kind}s`).hidden = items.length > 0;
  }
  showOpen(active?.key ?? "");
}

/**
 * Scroll the lists so that the conversation just opened is in them; later they stay as the user scrolled them.
 * @param {string} key
 */
function showOpen(key) {
  const sidebar = byId("sidebar");
  const entry = sidebar.querySelector("[aria-current]");
  const lists = entry?.closest(".lists");
  if (sidebar.dataset.shown === key || !entry || !lists) return;
  sidebar.dataset.shown = key;
  const { top, bottom } = entry.getBoundingClientRect();
  const window = lists.getBoundingClientRect();
  // Not scrollIntoView, which would also move what is around a drawer.
  if (top < window.top) lists.scrollTop -= window.top - top;
  else if (bottom > window.bottom) lists.scrollTop += bottom - window.bottom;
}

/**
 * @param {Session} session @param {() => void} opened
 * @param {{key: string, kind: string, name: string, count: number, unread: number, open: boolean, present: boolean,
 *   draft: boolean, failed: boolean}} item
 */
function entry(session, item, opened) {
  const pick = () => {
    const conversation = session.model.conversations.get(item.key);
    if (conversation !== undefined) session.open(conversation);
    opened();
  };
  const badge = element("span", { class: "badge" }, item.unread > 99 ? "99+" : String(item.unread));
  badge.append(element("span", { class: "visually-hidden" }, ` (${strings.unreadCount(item.unread)})`));
  const button = element(
    "button",
    {
      type: "button",
      class: `entry-button${item.unread > 0 ? " unread" : ""}`,
      "aria-current": item.open && "true",
      "data-name": item.name,
      click: pick,
    },
    item.kind === "room"
      ? element("span", { class: "hash", "aria-hidden": "true" }, "#")
      : face(item.name, item.present),
    element("bdi", { class: "name" }, item.name),
  );
  if (item.draft) button.append(mark("pencil", strings.draft));
  if (item.failed) button.append(mark("alert", strings.notSent));
  if (item.unread > 0) button.append(badge);
  else if (item.kind === "room" && item.count > 0) {
    const label = strings.present(item.count);
    button.append(
      element("span", { class: "count", title: label, "aria-label": label, role: "img" }, String(item.count)),
    );
  }
  return element("li", {}, button);
}

/** @param {string} name of the drawing @param {string} text */
function mark(name, text) {
  const made = element("span", { class: `mark ${name}`, title: text }, icon(name));
  made.append(element("span", { class: "visually-hidden" }, ` (${text})`));
  return made;
}

/** @param {string} name @param {boolean} present */
function face(name, present) {
  const made = avatar(name);
  made.classList.add("small");
  made.classList.toggle("present", present);
  return made;
}

/** @param {Session} session @param {() => void} opened */
export function drawMembers(session, opened) {
  const { active, model } = session;
  if (active?.kind !== "room") return;
  const names = [...active.members.values()].sort(byName).slice(0, MEMBERS_SHOWN);
  byId("members-title").textContent = `${strings.members} · ${active.count}`;
  byId("members-more").textContent = active.count > names.length ? strings.more(active.count - names.length) : "";
  reconcile(
    byId("member-list"),
    names.map((name) => ({ name, me: model.isMe(name) })),
    ({ name }) => name,
    ({ name, me }) => {
      const pick = () => {
        session.openDirect(name);
        opened();
      };
      const label = me ? undefined : strings.writeTo(name);
      const button = element(
        "button",
        { type: "button", class: "entry-button", title: label, "data-name": name, click: pick },
        face(name, true),
        element("bdi", { class: "name" }, name),
      );
      if (me) button.append(element("span", { class: "muted small" }, strings.you));
      return element("li", {}, button);
    },
  );
}
