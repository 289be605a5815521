/** Draws the page: the picture and what is over it, the bar, the help. Does not change the page's state. */

import { keyCap } from "./key_cap.js";
import { ARROWS, gameKeys, hasGas, lacksBrake } from "./keys.js";
import { COMMANDS, commandHelp } from "./commands.js";

const MAX_HINT_KEYS = 4; // of the game, before a drive
const BUTTON_MS = 300; // how long a button is held that is pressed from the keyboard

/** @param {string} id @returns {any} */
export const element = (id) => document.getElementById(id);

/**
 * @param {string} tag
 * @param {string} text
 * @param {string} [className]
 */
function text(tag, text, className = "") {
  return Object.assign(document.createElement(tag), { textContent: text, className });
}

/**
 * Minutes and seconds, as 0:07.
 * @param {number} seconds
 */
export const formatTime = (seconds) =>
  `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

let messageTimer = 0;

/**
 * Shows a message for some seconds; an empty one removes it.
 * @param {string} message
 * @param {boolean} [isProblem] it stays, whatever is said later
 */
export function say(message, isProblem = false) {
  const box = element("message");
  if (box.classList.contains("problem")) return;
  box.textContent = message;
  box.classList.toggle("problem", isProblem);
  box.hidden = !message;
  clearTimeout(messageTimer);
  if (!isProblem) messageTimer = setTimeout(() => (box.hidden = true), 2500 + 50 * message.length);
}

/**
 * Says how far the model is loaded.
 * @param {number} received bytes
 * @param {number} total
 */
export function showProgress(received, total) {
  element("loading").querySelector("span").textContent = `loading ${(received / 1e6).toFixed(0)} MB`;
  element("loading").style.setProperty("--done", String(Math.min(1, received / total)));
}

export class Display {
  /** @param {import("./model.js").Site} site */
  constructor(site) {
    this.site = site;
    [this.height, this.width] = site.frame_shape;
    Object.assign(element("picture"), { width: this.width, height: this.height });
    this.picture = element("picture").getContext("2d", { alpha: false });
    this.canTouch = matchMedia("(any-pointer: coarse)").matches;
    this.#fillKeys();
  }

  /** The game's keys, arrow keys as on a keyboard. */
  #fillKeys() {
    const keys = gameKeys(this.site.game.action_keys);
    if (keys.some((key) => ARROWS.includes(key))) {
      const arrows = text("div", "", "arrows");
      ARROWS.forEach((key, i) => {
        const each = keyCap(key);
        each.classList.toggle("unused", !keys.includes(key));
        each.style.gridArea = `${i ? 2 : 1} / ${i ? i : 2}`;
        arrows.append(each);
      });
      element("keys").append(arrows);
    }
    element("keys").append(...keys.filter((key) => !ARROWS.includes(key)).map(keyCap));
  }

  /**
   * Fills bar and help once the keys of the commands are known.
   * @param {Record<string, string[]>} commandKeys
   * @param {(name: string, down: boolean) => void} onButton
   * @param {boolean} hasAliases whether letters are arrow keys too
   */
  fillCommands(commandKeys, onButton, hasAliases) {
    this.commandKeys = commandKeys;
    for (const [name, keys] of Object.entries(commandKeys)) {
      const { word } = COMMANDS[name];
      if (!word) continue;
      const title = commandHelp(name, this.site);
      const button = Object.assign(document.createElement("button"), { type: "button", title });
      button.dataset.command = name;
      button.append(...keys.slice(0, 1).map(keyCap), word);
      button.addEventListener("pointerdown", (event) => {
        event.preventDefault(); // the focus stays, so that the space key is not the button's
        onButton(name, true);
      });
      button.addEventListener("mousedown", (event) => event.preventDefault()); // some browsers set the focus here
      for (const kind of ["pointerup", "pointerleave", "pointercancel"]) {
        button.addEventListener(kind, () => onButton(name, false));
      }
      button.addEventListener("click", ({ detail }) => {
        if (detail) return; // a pointer's, which has been handled
        onButton(name, true); // by Enter on the focused button: there is no end of it, so it lasts a moment
        setTimeout(() => onButton(name, false), BUTTON_MS);
      });
      element("commands").append(button);
    }
    const { action_names: names, action_keys: actionKeys } = this.site.game;
    const game = this.#helpSection("GAME");
    names.forEach((name, i) => game.append(this.#helpRow(actionKeys[i].length ? actionKeys[i] : ["no key"], name)));
    if (lacksBrake(actionKeys)) game.append(text("p", "There is no brake and no reverse in this game."));
    if (hasAliases) game.append(text("p", "W A S D are arrow keys too."));
    if (this.canTouch && hasGas(actionKeys)) {
      game.append(text("p", "Touch: hold the left or right half of the picture. The gas stays on until you press it."));
    }
    game.append(text("p", "A gamepad works too. No game runs here: a neural network generates each frame."));
    element("help").addEventListener("click", () => onButton("help", true));
    const page = this.#helpSection("PAGE");
    for (const [name, keys] of Object.entries(commandKeys)) {
      if (keys.length) page.append(this.#helpRow(keys, commandHelp(name, this.site)));
    }
    page.append(text("p", this.canTouch ? "Tap here: play on." : "Help again, or a click here: play on."));
  }

  /** @param {string} title */
  #helpSection(title) {
    const section = document.createElement("section");
    section.append(text("h2", title));
    element("help").append(section);
    return section;
  }

  /**
   * @param {string[]} keys
   * @param {string} what
   */
  #helpRow(keys, what) {
    const row = document.createElement("div");
    row.append(...keys.map(keyCap), text("span", what));
    return row;
  }

  /**
   * Shows or hides the help. Shown, it has the focus, unless a button has it: PageDown scrolls it.
   * @param {boolean} visible
   */
  showHelp(visible) {
    const help = element("help");
    if (help.hidden !== visible) return;
    help.hidden = !visible;
    if (visible && document.activeElement === document.body) help.focus();
  }

  /** @param {Uint8ClampedArray} rgba the frame, (H, W, 4) */
  drawFrame(rgba) {
    this.picture.putImageData(new ImageData(rgba, this.width, this.height), 0, 0);
  }

  /**
   * How to begin, or, at the end of the list, how to go on.
   * @param {boolean} visible
   * @param {boolean} isAtEnd
   */
  showHint(visible, isAtEnd) {
    const hint = element("hint");
    hint.hidden = !visible;
    if (!visible || hint.dataset.isAtEnd === String(isAtEnd)) return;
    hint.dataset.isAtEnd = String(isAtEnd);
    const { action_keys: actionKeys } = this.site.game;
    const keys = gameKeys(actionKeys);
    const verb = hasGas(actionKeys) ? "drive" : "play";
    const rows = [text("div", ""), text("div", "")];
    if (this.canTouch && keys.includes("left") && keys.includes("right")) {
      rows[0].append(text("span", "hold the left or right half of the picture"));
    } else {
      if (keys.length > 0 && keys.length <= MAX_HINT_KEYS) rows[0].append(...keys.map(keyCap), text("span", verb));
      else rows[0].append(text("span", "press a key of the game"));
      for (const [name, what] of [
        isAtEnd
          ? ["restart", "list again"]
          : ["driver", `${this.site.has_agent ? "agent" : "list"} ${verb}s`],
        ["help", "help"],
      ]) {
        const key = this.commandKeys[name]?.[0];
        if (key) rows[1].append(keyCap(key), text("span", what));
      }
    }
    hint.replaceChildren(...rows.filter((row) => row.childElementCount));
  }

  /**
   * Highlights keys, wherever they are drawn.
   * @param {Set<string>} keys
   */
  light(keys) {
    for (const each of document.querySelectorAll("#keys [data-key], #help [data-key], #touch [data-key]")) {
      each.classList.toggle("lit", keys.has(/** @type {HTMLElement} */ (each).dataset.key));
    }
  }

  /**
   * The first row of the bar.
   * `seconds`: of the person's drive, or of another driver's since the start. `longest`: of all drives of the person.
   * @param {{driver: string, seconds: number, longest: number, slow: string}} status
   */
  showStatus({ driver, seconds, longest, slow }) {
    const items = [];
    if (driver === "you") items.push(text("small", "drive"), text("b", formatTime(seconds)));
    else items.push(text("small", "driver"), text("b", driver, "agent"), text("b", formatTime(seconds)));
    if (driver === "you" && longest >= 1) {
      items.push(text("small", "longest", "longest"), text("b", formatTime(longest), "longest"));
    }
    if (slow) items.push(text("span", slow, "slow"));
    const key = items.map((item) => item.textContent).join(" ");
    if (key === this.statusKey) return;
    this.statusKey = key;
    element("status").replaceChildren(...items);
  }

  /** @param {string[]} texts the technical line */
  showNumbers(texts) {
    element("numbers").textContent = texts.join("  ·  ");
  }
}
