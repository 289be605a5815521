/** Keyboard, touch and gamepad: which of the game's keys are held, and which command is called. */

import { keyCap } from "./key_cap.js";
import { ARROWS, gameKeys, hasGas, keyAliases, keyName } from "./keys.js";
import { commandKeys } from "./commands.js";

const DEAD_ZONE = 0.4; // of a stick, -1 to 1: a released stick is seldom at exactly 0
// Buttons of the standard gamepad: the D-pad, and Back and Start, which are commands.
const PAD_ARROWS = { 12: "up", 13: "down", 14: "left", 15: "right" };
const PAD_COMMANDS = { 8: "restart", 9: "pause" };
// Flags of an event, and the keys' names without their side.
const MODIFIERS = { ctrlKey: "ctrl", altKey: "alt", metaKey: "meta" };

/**
 * @typedef {object} Receiver
 * @property {(name: string) => void} command a command's key or button is pressed
 * @property {(name: string) => void} release it is released
 * @property {() => void} pressed a key of the game is pressed
 */

export class Controls {
  /**
   * @param {import("./model.js").Site} site
   * @param {Receiver} receiver
   */
  constructor(site, receiver) {
    this.receiver = receiver;
    this.actionKeys = site.game.action_keys;
    this.aliases = keyAliases(this.actionKeys);
    this.keys = gameKeys(this.actionKeys);
    this.commandKeys = commandKeys(site);
    this.commandOfKey = {};
    for (const [name, keys] of Object.entries(this.commandKeys)) {
      for (const key of keys) this.commandOfKey[key] = name;
    }
    /** @type {Map<string, string>} key of the game by what holds it: a key's code, a finger, a gamepad's button */
    this.holders = new Map();
    /** @type {Map<string, string>} command by what holds it: a key's code or a button */
    this.commandHolders = new Map();
    this.sinceFrame = new Set(); // keys that were pressed since the last frame, held or not
    this.padCommands = new Set(); // buttons of commands that are down
    this.gas = false; // whether the gas button of the touch screen is on
  }

  /** The keys that are held, and those that were pressed shorter than a frame; a new frame begins. */
  take() {
    const keys = new Set([...this.held(), ...this.sinceFrame]);
    this.sinceFrame.clear();
    return keys;
  }

  held() {
    return new Set([...this.holders.values(), ...(this.gas ? ["up"] : [])]);
  }

  releaseAll() {
    this.holders.clear();
    for (const holder of [...this.commandHolders.keys()]) this.releaseCommand(holder);
  }

  /**
   * Calls a command.
   * @param {string} holder
   * @param {string} command
   */
  pressCommand(holder, command) {
    this.commandHolders.set(holder, command);
    this.receiver.command(command);
  }

  /**
   * Ends a command that lasts while it is held, unless something else holds it too.
   * @param {string} holder
   */
  releaseCommand(holder) {
    const command = this.commandHolders.get(holder);
    this.commandHolders.delete(holder);
    if (command && ![...this.commandHolders.values()].includes(command)) this.receiver.release(command);
  }

  /**
   * @param {string} holder
   * @param {string} key
   */
  #hold(holder, key) {
    this.holders.set(holder, key);
    this.sinceFrame.add(key);
    this.receiver.pressed();
  }

  // -- keyboard --------------------------------------------------------------------------------------------------

  /** Listens to the keyboard of the page. */
  listen() {
    addEventListener("keydown", (event) => this.#onKeyDown(event));
    addEventListener("keyup", (event) => this.#onKeyUp(event));
    addEventListener("blur", () => this.releaseAll());
    document.addEventListener("visibilitychange", () => document.hidden && this.releaseAll());
    addEventListener("gamepaddisconnected", ({ gamepad }) => this.#unplug(gamepad.index));
  }

  /** @param {KeyboardEvent} event */
  #onKeyDown(event) {
    const name = keyName(event);
    const key = this.aliases[name] ?? name;
    const isGameKey = this.keys.includes(key);
    // The browser's own shortcuts stay its own; Shift+Tab moves the focus.
    if (this.#isShortcut(event, isGameKey) || (!isGameKey && name === "tab" && event.shiftKey)) return;
    if (["return", "space"].includes(name) && /** @type {Element} */ (event.target).closest?.("button")) {
      if (event.repeat) event.preventDefault(); // Enter would press the button again and again
      return; // it presses the focused button
    }
    const command = this.commandOfKey[key];
    if (!isGameKey && !command) return;
    event.preventDefault();
    if (event.repeat) return;
    if (command) this.pressCommand(event.code, command);
    else this.#hold(event.code, key);
  }

  /**
   * Whether a modifier is held that makes a shortcut of the key: for keys of the game, one that is not of the game too.
   * @param {KeyboardEvent} event
   * @param {boolean} isGameKey
   */
  #isShortcut(event, isGameKey) {
    const isOfGame = (name) => ["left", "right"].some((side) => this.keys.includes(`${side} ${name}`));
    return Object.entries(MODIFIERS).some(([flag, name]) => event[flag] && !(isGameKey && isOfGame(name)));
  }

  /** @param {KeyboardEvent} event */
  #onKeyUp(event) {
    this.holders.delete(event.code);
    this.releaseCommand(event.code);
    if (event.key === "Meta") this.releaseAll(); // macOS does not report keys that end while it is held
  }

  // -- touch -----------------------------------------------------------------------------------------------------

  /**
   * The halves of `stage` hold left and right; `panel` gets buttons for gas and the game's other keys.
   * @param {HTMLElement} stage
   * @param {HTMLElement} panel
   */
  listenToTouch(stage, panel) {
    const steers = ["left", "right"].every((key) => this.keys.includes(key));
    if (steers) {
      stage.addEventListener("pointerdown", (event) => {
        if (event.pointerType === "mouse" || event.target.closest("#help")) return;
        event.preventDefault();
        const { left, width } = stage.getBoundingClientRect();
        this.#steer(event.pointerId, event.clientX < left + width / 2 ? "left" : "right");
      });
    }
    for (const kind of ["pointerup", "pointercancel"]) {
      addEventListener(kind, ({ pointerId }) => this.holders.delete(`finger ${pointerId}`));
    }
    const order = (key) => ({ left: 0, right: 2 })[key] ?? 1; // left at the left, right at the right
    for (const key of [...this.keys].sort((a, b) => order(a) - order(b))) {
      const button = this.#touchButton(key);
      button.classList.toggle("side", steers && order(key) !== 1);
      panel.append(button);
    }
  }

  /** @param {string} key */
  #touchButton(key) {
    const button = document.createElement("button");
    const isGas = key === "up" && hasGas(this.actionKeys);
    button.type = "button";
    button.append(isGas ? "gas" : keyCap(key));
    button.ariaLabel = isGas ? "gas" : key;
    button.dataset.key = key;
    button.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      if (isGas) this.setGas(!this.gas);
      else this.#steer(event.pointerId, key);
    });
    return button;
  }

  /**
   * A finger holds a key; in a car it also turns the gas on.
   * @param {number} finger
   * @param {string} key
   */
  #steer(finger, key) {
    if (hasGas(this.actionKeys) && ["left", "right"].includes(key)) this.setGas(true);
    this.#hold(`finger ${finger}`, key);
  }

  /** The gas stays on until its button is pressed again: two thumbs steer. */
  setGas(on) {
    this.gas = on;
    if (on) this.receiver.pressed();
  }

  // -- gamepad ---------------------------------------------------------------------------------------------------

  /** Reads all gamepads; to be called for each frame, because there are no events. */
  readGamepads() {
    const others = this.keys.filter((key) => !ARROWS.includes(key));
    const buttonKeys = others.length ? others : ["up", "down"].filter((key) => this.keys.includes(key));
    for (const pad of navigator.getGamepads?.() ?? []) {
      if (!pad) continue;
      const [x = 0, y = 0] = pad.axes;
      const axes = { left: x < -DEAD_ZONE, right: x > DEAD_ZONE, up: y < -DEAD_ZONE, down: y > DEAD_ZONE };
      for (const [key, on] of Object.entries(axes)) this.#set(`pad ${pad.index} axis ${key}`, key, on);
      pad.buttons.forEach(({ pressed }, number) => {
        const holder = `pad ${pad.index} button ${number}`;
        const key = PAD_ARROWS[number] ?? buttonKeys[number];
        if (key) this.#set(holder, key, pressed);
        else if (number in PAD_COMMANDS) this.#padCommand(holder, PAD_COMMANDS[number], pressed);
      });
    }
  }

  #set(holder, key, on) {
    if (!on) this.holders.delete(holder);
    else if (!this.holders.has(holder)) this.#hold(holder, key);
  }

  #padCommand(holder, command, pressed) {
    if (pressed && !this.padCommands.has(holder)) this.receiver.command(command);
    pressed ? this.padCommands.add(holder) : this.padCommands.delete(holder);
  }

  /** @param {number} index */
  #unplug(index) {
    for (const holder of [...this.holders.keys()]) {
      if (holder.startsWith(`pad ${index} `)) this.holders.delete(holder);
    }
  }
}
