/**
 * The commands of the page: keys, help text and function of each; keys as in the pygame window (window/commands.py).
 *
 * To add a command, write a line in COMMANDS. `page`: a Page (main.js).
 */

import { gameKeys, keyAliases } from "./keys.js";

/**
 * @typedef {object} Command
 * @property {string[]} keys names as in pygame
 * @property {string | ((site: import("./model.js").Site) => string)} help one line
 * @property {string} [word] of its button in the bar; none: no button
 * @property {(page: any) => void} run
 * @property {(page: any) => void} [release] of a command that lasts while its key is held
 * @property {(site: import("./model.js").Site) => boolean} [exists] whether this game has it
 */

/** @param {import("./model.js").Site} site */
const otherDrivers = (site) => [
  ...(site.has_agent ? ["the agent"] : []),
  ...(site.has_list ? ["the list"] : []),
];

/** @type {Record<string, Command>} */
export const COMMANDS = {
  help: { keys: ["h", "f1"], help: "this help, and play on", word: "help", run: (page) => page.toggleHelp() },
  restart: { keys: ["r", "return"], help: "again from the start", word: "again", run: (page) => page.restart() },
  rewind: {
    keys: ["z", "backspace"],
    help: "back in time while held",
    word: "back",
    run: (page) => page.setRewinding(true),
    release: (page) => page.setRewinding(false),
  },
  driver: {
    keys: ["tab"],
    help: (site) => `${otherDrivers(site).join(" or ")} plays, or you do`,
    word: "driver",
    run: (page) => page.cycleDriver(),
    exists: (site) => otherDrivers(site).length > 0,
  },
  pause: { keys: ["p", "space"], help: "pause", word: "pause", run: (page) => page.togglePause() },
  next: { keys: ["n"], help: "next place to start from", word: "place", run: (page) => page.changeStart(1) },
  previous: { keys: ["b"], help: "previous place to start from", run: (page) => page.changeStart(-1) },
  seen: { keys: ["t"], help: "what the model sees", word: "view", run: (page) => page.toggleSeen() },
  numbers: { keys: ["i"], help: "times, backend, frame number", word: "info", run: (page) => page.toggleNumbers() },
  step: { keys: ["."], help: "advance by one frame", run: (page) => page.singleStep() },
  seed: { keys: ["x"], help: "other random numbers: next seed", run: (page) => page.nextSeed() },
  full: { keys: ["f11", "f"], help: "full screen", run: (page) => page.fullScreen() },
};

/**
 * The keys of each command of this game by its name, without those that the game uses.
 * @param {import("./model.js").Site} site
 * @returns {Record<string, string[]>}
 */
export function commandKeys(site) {
  const { action_keys: actionKeys } = site.game;
  const used = new Set([...gameKeys(actionKeys), ...Object.keys(keyAliases(actionKeys))]);
  const entries = Object.entries(COMMANDS).filter(([, { exists }]) => !exists || exists(site));
  return Object.fromEntries(entries.map(([name, { keys }]) => [name, keys.filter((key) => !used.has(key))]));
}

/**
 * The help text of a command.
 * @param {string} name
 * @param {import("./model.js").Site} site
 * @returns {string}
 */
export function commandHelp(name, site) {
  const { help } = COMMANDS[name];
  return typeof help === "string" ? help : help(site);
}
