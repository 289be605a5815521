/**
 * The page: loads the model, then generates a frame whenever one is due, with the keys that are held.
 *
 * Options in the address, for measurements: ?backend=wasm, webgpu, webgpu16 or webgpu32, ?threads=1
 */

import { COMMANDS } from "./commands.js";
import { Controls } from "./controls.js";
import { Display, element, say, showProgress } from "./display.js";
import { Drive } from "./drive.js";
import { keyLabel, keyAliases } from "./keys.js";
import { Model } from "./model.js";
import { isolate, keepForOffline } from "./offline.js";
import { SeenPanel } from "./seen.js";
import { Session } from "./session.js";
import { loadList, loadSite, loadStarts } from "./site_files.js";
import { FrameLimiter, FrameTimes } from "./timing.js";

const REWIND_SPEED_UP_S = 1.5; // each such time rewinding is faster by one frame per frame
const MAX_REWIND_SPEED = 4;
// Commands that leave the help open; all others would act behind it, unseen.
const UNDER_HELP = ["help", "pause", "full"];
const BUTTON_STATES = { help: "isHelpShown", pause: "isPaused", seen: "isSeenShown", numbers: "areNumbersShown" };

class Page {
  /**
   * @param {Session} session
   * @param {Display} display
   */
  constructor(session, display) {
    this.session = session;
    this.display = display;
    this.site = session.model.site;
    this.controls = new Controls(this.site, {
      command: (name) => {
        if (!UNDER_HELP.includes(name)) this.isHelpShown = false;
        COMMANDS[name].run(this);
      },
      release: (name) => COMMANDS[name].release?.(this),
      pressed: () => this.onGameKey(),
    });
    this.limiter = new FrameLimiter(this.site.game.fps);
    this.times = new FrameTimes();
    this.isPaused = this.isWaiting = this.isRewinding = this.isHelpShown = false;
    this.isSeenShown = this.areNumbersShown = false;
    this.stepOnce = false;
    this.numRewound = 0; // frames since the key is held
    this.drive = new Drive(this.site.game.fps);
    this.shownKeys = new Set(); // keys that are highlighted
    this.isOffline = false; // whether the page works without a network
    /** @type {(() => Promise<void>)[]} changes of the session, made between two frames */
    this.pending = [];
    /** @type {SeenPanel | null} */
    this.panel = null;
  }

  /** Plays until the page is closed. */
  async run() {
    const aliases = Object.keys(keyAliases(this.site.game.action_keys));
    const onButton = (name, down) =>
      down ? this.controls.pressCommand(`button ${name}`, name) : this.controls.releaseCommand(`button ${name}`);
    this.display.fillCommands(this.controls.commandKeys, onButton, aliases.length > 0);
    this.controls.listen();
    this.controls.listenToTouch(element("stage"), element("touch"));
    await this.session.restart();
    this.onRestart();
    this.draw();
    element("loading").hidden = true;
    document.body.classList.add("ready");
    while (true) {
      await this.limiter.wait();
      this.controls.readGamepads();
      while (this.pending.length) await this.pending.shift()();
      if (this.session.isAtEnd) this.endList();
      const steps = this.stepOnce || !(this.isPaused || this.isWaiting || this.isHelpShown);
      if (this.isRewinding) this.rewindFrame();
      else if (steps) await this.step();
      // Keys pressed meanwhile must not act later; only the key that begins the drive does.
      if (this.isRewinding || (!steps && !(this.isWaiting && !this.isHelpShown))) this.controls.sinceFrame.clear();
      this.draw();
    }
  }

  async step() {
    this.stepOnce = false;
    const held = this.controls.take();
    const began = performance.now();
    const { driver } = this.session;
    const action = await this.session.chooseAction(held);
    this.shownKeys = driver === "you" ? held : new Set(this.site.game.action_keys[action]);
    this.display.light(this.shownKeys); // at once, not when the frame is there
    const before = this.session.state;
    await this.session.step(action, this.isSeenShown);
    this.times.add(performance.now() - began);
    const isNoop = this.site.game.action_keys[action].length === 0;
    this.drive.add(before.rgba, this.session.state.rgba, driver === "you", isNoop);
  }

  /** At the end of the list: the person goes on whose keys are held, or the picture waits for one. */
  endList() {
    if (this.controls.held().size && !this.isHelpShown) return this.onGameKey();
    if (!this.isWaiting) say("the list has ended");
    this.isWaiting = true;
  }

  /** Goes back by one frame, by more the longer the key is held. */
  rewindFrame() {
    this.numRewound++;
    const speed = 1 + Math.floor(this.numRewound / (this.site.game.fps * REWIND_SPEED_UP_S));
    for (let i = 0; i < Math.min(MAX_REWIND_SPEED, speed); i++) {
      if (!this.session.rewind()) break;
      this.isWaiting = false;
      this.drive.pop();
    }
    this.times.reset();
  }

  // -- called by the controls ------------------------------------------------------------------------------------

  onGameKey() {
    if (this.isHelpShown) return;
    this.isWaiting = false;
    if (this.session.isAtEnd) this.session.driver = "you";
  }

  // -- called by the commands ------------------------------------------------------------------------------------

  /** @param {() => boolean} [isWanted] whether it is still wanted, between two frames */
  restart(isWanted = () => true) {
    this.pending.push(async () => {
      if (!isWanted()) return;
      await this.session.restart();
      this.onRestart();
    });
  }

  /** @param {number} offset */
  changeStart(offset) {
    this.pending.push(async () => {
      await this.session.changeStart(offset);
      this.onRestart();
      say(`place ${this.session.start + 1} of ${this.site.num_starts}`);
    });
  }

  /** Waits for a key, unless one is held or another driver plays. */
  onRestart() {
    this.isWaiting = this.session.driver === "you" && this.controls.held().size === 0;
    this.isHelpShown = this.isPaused = false;
    this.controls.sinceFrame.clear();
    this.drive.restart();
    this.times.reset();
  }

  cycleDriver() {
    this.session.cycleDriver();
    this.isWaiting = false;
    say(`driver: ${this.session.driver}`);
    // The list's actions are those since the start state. Who goes on to the next driver at once keeps the drive.
    const isList = () => this.session.driver === "list";
    if (isList()) this.restart(isList);
  }

  togglePause() {
    if (this.isHelpShown) this.isHelpShown = false;
    else if (this.session.isAtEnd)
      this.isPaused = false; // there is nothing to go on with
    else if (this.isWaiting) this.isWaiting = false;
    else this.isPaused = !this.isPaused;
    this.times.reset();
  }

  singleStep() {
    if (this.session.isAtEnd) return;
    this.isPaused = this.stepOnce = true;
    this.isWaiting = false;
  }

  /** @param {boolean} on */
  setRewinding(on) {
    this.isRewinding = on;
    this.numRewound = 0;
  }

  toggleHelp() {
    this.isHelpShown = !this.isHelpShown;
    this.times.reset();
  }

  toggleNumbers() {
    this.areNumbersShown = !this.areNumbersShown;
  }

  toggleSeen() {
    this.isSeenShown = !this.isSeenShown;
    this.panel ??= new SeenPanel(element("seen"), this.site);
    // What the last frame was made of has not been kept: it is generated again.
    if (this.isSeenShown) this.pending.push(() => this.regenerate());
  }

  nextSeed() {
    this.session.seed++;
    if (this.isPaused) this.pending.push(() => this.regenerate());
    say(`seed ${this.session.seed}`);
  }

  /** Generates the last frame again, with the current seed. */
  async regenerate() {
    const { action } = this.session.state;
    if (this.session.rewind()) await this.session.step(action, this.isSeenShown);
  }

  async fullScreen() {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else await document.documentElement.requestFullscreen();
    } catch (problem) {
      say(`no full screen: ${problem.message}`);
    }
  }

  // -- drawing ---------------------------------------------------------------------------------------------------

  draw() {
    const { session, display, times } = this;
    const { fps } = this.site.game;
    display.drawFrame(session.state.rgba);
    if (!session.state.numFrames || this.isPaused || this.isHelpShown) this.shownKeys = this.controls.held();
    display.light(this.shownKeys);
    display.showHelp(this.isHelpShown);
    display.showHint(this.isWaiting && !this.isHelpShown && !this.isRewinding, session.isAtEnd);
    element("paused").hidden = !this.isPaused || session.isAtEnd || this.isHelpShown || this.isRewinding;
    element("rewind-sign").hidden = element("history").hidden = !this.isRewinding || this.isHelpShown;
    element("history").style.setProperty("--left", String(session.history.length / session.maxHistory));
    for (const [name, state] of Object.entries(BUTTON_STATES)) {
      document.querySelector(`[data-command=${name}]`)?.classList.toggle("on", this[state]);
    }
    const rate = times.fps();
    const isSlow = rate !== null && !this.isPaused && !this.isWaiting && rate < 0.9 * fps;
    display.showStatus({
      driver: session.isAtEnd ? `${session.driver}: end` : session.driver,
      seconds: session.driver === "you" ? this.drive.seconds : session.state.numFrames / fps,
      longest: this.drive.bestS,
      slow: isSlow ? `slow: ${Math.round(rate)} of ${fps} frames/s` : "",
    });
    element("numbers").hidden = !this.areNumbersShown;
    if (this.areNumbersShown) display.showNumbers(this.numbers());
    element("seen").hidden = !this.isSeenShown || this.isHelpShown; // the help needs the room
    if (this.isSeenShown) {
      const context = session.history.length ? session.history.slice(-4) : [session.state];
      this.panel.draw(
        context.map(({ rgba }) => rgba),
        session.seen,
      );
    }
  }

  /** The technical line. */
  numbers() {
    const { session, times, site } = this;
    const rate = times.fps()?.toFixed(1) ?? "-";
    return [
      `${rate} of ${site.game.fps} frames/s`,
      `${times.quantile(0.5).toFixed(0)} ms a frame, p95 ${times.quantile(0.95).toFixed(0)}`,
      this.isOffline ? "kept for offline use" : "needs the network",
      session.model.name,
      `start ${session.start} of 0-${site.num_starts - 1}, frame ${session.state.numFrames}`,
      `${site.game.action_names[session.state.action]}, seed ${session.seed}`,
    ];
  }
}

async function main() {
  await isolate();
  const site = await loadSite();
  const display = new Display(site);
  const model = new Model(site);
  model.onProgress = showProgress;
  const options = new URLSearchParams(location.search);
  const [starts, list] = await Promise.all([
    loadStarts(site),
    loadList(site),
    model.load(options.get("backend"), Number(options.get("threads")) || 0),
  ]);
  const page = new Page(new Session(model, starts, list), display);
  Object.assign(globalThis, { page }); // for tests, and for the console
  keepForOffline(site, model.files).then((isKept) => (page.isOffline = isKept));
  const help = page.controls.commandKeys.help[0];
  document.title = `Dream${help ? ` (${keyLabel(help)}: help)` : ""}`;
  await page.run();
}

main().catch((problem) => {
  element("loading").hidden = true;
  const reason = problem?.message ?? problem;
  const hasBegun = document.body.classList.contains("ready");
  say(hasBegun ? `stopped: ${reason}; reload the page` : `This page cannot play here: ${reason}`, true);
  throw problem;
});
