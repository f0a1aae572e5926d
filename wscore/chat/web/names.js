// @ts-check
/** The order of names in the page's lists. Imports nothing. */

const collator = new Intl.Collator(undefined, { numeric: true });

/**
 * That of the browser's language, numbers by their value.
 * @param {string} a @param {string} b @returns {number}
 */
export function byName(a, b) {
  return collator.compare(a, b);
}
