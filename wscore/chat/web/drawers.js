// @ts-check
/**
 * The lists at the sides. Where the window is narrow they are drawers over the conversation: the focus goes into an
 * open one and stays there, and goes back to where it came from. On wide windows the members' column folds.
 */

import { byId } from "./dom.js";

const layout = byId("chat");
const NARROW = { list: matchMedia("(max-width: 44rem)"), members: matchMedia("(max-width: 60rem)") };
const DRAWERS = { list: byId("sidebar"), members: byId("members") };
const ALL = [byId("sidebar"), byId("conversation"), byId("members")];

/** @type {HTMLElement | null} */
let opener = null;

export function isDrawerOpen() {
  return layout.classList.contains("list-open") || layout.classList.contains("members-open");
}

/** @param {"list" | "members"} which @param {HTMLElement} source where the focus goes back to */
export function toggleDrawer(which, source) {
  if (!NARROW[which].matches) {
    const folded = layout.classList.toggle("members-folded");
    source.setAttribute("aria-expanded", String(!folded));
    return;
  }
  opener = source;
  layout.classList.add(`${which}-open`);
  for (const part of ALL) part.inert = part !== DRAWERS[which];
  DRAWERS[which].querySelector("[data-action=close-drawers]")?.focus();
}

export function closeDrawers() {
  if (!isDrawerOpen()) return;
  layout.classList.remove("list-open", "members-open");
  for (const part of ALL) part.inert = false;
  opener?.focus();
  opener = null;
}

// A window made wide has no drawers.
for (const query of Object.values(NARROW)) query.addEventListener("change", closeDrawers);
