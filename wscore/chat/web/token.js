// @ts-check
/** Access tokens: where one comes from, and whose it is. Imports nothing. */

/** Take the token of an address like `https://chat.example/#token=…`, and take it out of the address bar. */
export function takeTokenFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token !== null) history.replaceState(null, "", location.pathname + location.search);
  return token || null;
}

/**
 * Whom a JWT is for, to find what the browser remembers of that name; the server checks it, this does not.
 * @param {string} token @returns {string | null} null where it is no JWT
 */
export function nameOfToken(token) {
  try {
    const payload = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    const { sub } = JSON.parse(new TextDecoder().decode(bytes));
    return typeof sub === "string" && sub !== "" ? sub : null;
  } catch {
    return null;
  }
}
