/** Keys and actions, as in sd/dream/play/keys.py. Keys have the names that pygame gives them ("up", "space", "z"). */

const OPPOSITES = [
  ["left", "right"],
  ["up", "down"],
];
const WASD = { w: "up", a: "left", s: "down", d: "right" };
export const ARROWS = ["up", "left", "down", "right"];
const NAMES = {
  ArrowUp: "up",
  ArrowDown: "down",
  ArrowLeft: "left",
  ArrowRight: "right",
  Space: "space",
  Enter: "return",
  NumpadEnter: "enter",
  Escape: "escape",
  Tab: "tab",
  Backspace: "backspace",
  Delete: "delete",
  Insert: "insert",
  Home: "home",
  End: "end",
  PageUp: "page up",
  PageDown: "page down",
  CapsLock: "caps lock",
  ShiftLeft: "left shift",
  ShiftRight: "right shift",
  ControlLeft: "left ctrl",
  ControlRight: "right ctrl",
  AltLeft: "left alt",
  AltRight: "right alt",
  MetaLeft: "left meta",
  MetaRight: "right meta",
  NumpadAdd: "[+]",
  NumpadSubtract: "[-]",
  NumpadMultiply: "[*]",
  NumpadDivide: "[/]",
  NumpadDecimal: "[.]",
};
const LABELS = {
  backspace: "Back",
  end: "End",
  escape: "Esc",
  home: "Home",
  "page down": "PgDn",
  "page up": "PgUp",
  return: "Enter",
  space: "Space",
  tab: "Tab",
};

/**
 * The name of the key of an event.
 * @param {KeyboardEvent} event
 * @returns {string}
 */
export function keyName({ code, key, shiftKey }) {
  if (code in NAMES) return NAMES[code];
  if (/^Numpad\d$/.test(code)) return `[${code[6]}]`;
  if (/^F\d+$/.test(code)) return code.toLowerCase();
  // A letter is named as it is printed on the key, whatever the layout; with Shift, a digit by its place.
  if (shiftKey && /^Digit\d$/.test(code)) return code[5];
  // Cyrillic or Greek keyboards have Latin letters too, at their usual places.
  if (/^[^\0-\x7f]$/u.test(key) && /^Key[A-Z]$/.test(code)) return code[3].toLowerCase();
  return key.toLowerCase();
}

/**
 * What is written on a key; arrow keys are drawn (key_cap.js).
 * @param {string} key
 * @returns {string}
 */
export function keyLabel(key) {
  return LABELS[key] ?? (key.length === 1 || /^f\d+$/.test(key) ? key.toUpperCase() : key);
}

/**
 * All keys of a game, in the order of its actions.
 * @param {string[][]} actionKeys keys that are held together, by action
 * @returns {string[]}
 */
export const gameKeys = (actionKeys) => [...new Set(actionKeys.flat())];

/**
 * The action that holds no key, or action 0.
 * @param {string[][]} actionKeys
 * @returns {number}
 */
export const noopAction = (actionKeys) =>
  Math.max(
    0,
    actionKeys.findIndex((keys) => keys.length === 0),
  );

/**
 * Whether the keys are those of a car: up alone, and up together with left or right.
 * @param {string[][]} actionKeys
 * @returns {boolean}
 */
export function hasGas(actionKeys) {
  const steers = (keys) => keys.includes("up") && (keys.includes("left") || keys.includes("right"));
  return actionKeys.some((keys) => keys.length === 1 && keys[0] === "up") && actionKeys.some(steers);
}

/**
 * Whether a game with gas has no key that could be a brake or a reverse gear.
 * @param {string[][]} actionKeys
 * @returns {boolean}
 */
export const lacksBrake = (actionKeys) =>
  hasGas(actionKeys) && gameKeys(actionKeys).every((key) => ["up", "left", "right"].includes(key));

/**
 * Arrow keys by the letters that can be held in their place; none if an action uses one of the letters.
 * @param {string[][]} actionKeys
 * @returns {Record<string, string>}
 */
export function keyAliases(actionKeys) {
  const keys = gameKeys(actionKeys);
  const usesArrows = keys.some((key) => ARROWS.includes(key));
  return usesArrows && !keys.some((key) => key in WASD) ? WASD : {};
}

/**
 * The action with the most keys among those whose keys are all held; ties go to the lowest number. Left and right, or
 * up and down, held together cancel each other, unless an action uses both.
 * @param {Iterable<string>} held
 * @param {string[][]} actionKeys
 * @returns {number}
 */
export function actionForKeys(held, actionKeys) {
  const keys = new Set(held);
  for (const pair of OPPOSITES) {
    const isUsed = actionKeys.some((each) => pair.every((key) => each.includes(key)));
    if (!isUsed && pair.every((key) => keys.has(key))) pair.forEach((key) => keys.delete(key));
  }
  let best = noopAction(actionKeys);
  let most = -1;
  actionKeys.forEach((each, action) => {
    if (each.length > most && each.every((key) => keys.has(key))) [best, most] = [action, each.length];
  });
  return best;
}
