/** Keys as they are drawn in the bar, the help, the hints and on the touch screen. */

import { ARROWS, keyLabel } from "./keys.js";

/**
 * A key with its label; arrow keys with an arrow.
 * @param {string} key
 * @returns {HTMLElement}
 */
export function keyCap(key) {
  const span = document.createElement("span");
  span.className = ARROWS.includes(key) ? "cap arrow" : "cap";
  if (!ARROWS.includes(key)) span.textContent = keyLabel(key);
  else span.ariaLabel = key;
  span.dataset.key = key;
  return span;
}
