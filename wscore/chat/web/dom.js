// @ts-check
/** Making and updating elements. User text enters the document here and only as text. */

import { foldName } from "./client.js";

/** @param {string} id @returns {any} */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element;
}

/**
 * @param {string} tag
 * @param {{[attribute: string]: string | boolean | undefined | ((event: any) => void)}} [attributes]
 * functions are listeners, `true` a bare attribute, false and undefined none
 * @param {(Node | string)[]} children strings become text
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** One of the drawings in the document's head of symbols. @param {string} name */
export function icon(name) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(namespace, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** The first letter of a name on a colour of its own. @param {string} name */
export function avatar(name) {
  let hash = 0x811c9dc5; // FNV-1a, which spreads short names well
  for (const character of foldName(name)) {
    hash = Math.imul(hash ^ /** @type {number} */ (character.codePointAt(0)), 0x01000193) >>> 0;
  }
  const made = element("span", { class: "avatar", "aria-hidden": "true" }, [...name][0].toUpperCase());
  made.style.setProperty("--hue", String(hash % 360));
  return made;
}

/**
 * Make the children of `parent` those of `items`, keeping the elements of equal keys.
 * @template T
 * @param {HTMLElement} parent @param {T[]} items @param {(item: T) => string} keyOf
 * @param {(item: T) => HTMLElement} make called anew when the item's content changed
 */
export function reconcile(parent, items, keyOf, make) {
  /** @type {Map<string, any>} */
  const old = new Map([...parent.children].map((child) => [/** @type {any} */ (child).rowKey, child]));
  let next = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    const content = JSON.stringify(item);
    let child = old.get(key);
    old.delete(key);
    if (child?.rowContent !== content) {
      const fresh = Object.assign(make(item), { rowKey: key, rowContent: content });
      if (child !== undefined) {
        if (child === next) next = fresh;
        const focused = child.contains(document.activeElement);
        child.replaceWith(fresh);
        if (focused) (fresh.querySelector("button") ?? fresh).focus();
      }
      child = fresh;
    }
    if (next !== null && child === next) next = next.nextSibling;
    else parent.insertBefore(child, next);
  }
  for (const gone of old.values()) gone.remove();
}
