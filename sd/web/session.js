/** A play session, as in sd/dream/play/session.py: steps the model by the driver's actions, rewinds, restarts. */

import { AgentView, STACK } from "./agent_view.js";
import { actionForKeys, noopAction } from "./keys.js";
import { normal, sampleCategorical } from "./random.js";

const REWIND_SECONDS = 20; // length of the history; a frame of the pretrained model takes 0.15 MB
const MAX_HISTORY_BYTES = 100e6; // of a model with large frames or latents the history is shorter
const AGENT_STREAM = 2 ** 30; // of the agent's random numbers, apart from those of the noise

/**
 * @typedef {object} State it is never changed
 * @property {Int32Array} actions (L,); the last one is a placeholder for the next action
 * @property {Uint8ClampedArray} rgba the frame
 * @property {number} action that led to it
 * @property {number} numFrames since the start state
 */

export class Session {
  /**
   * @param {import("./model.js").Model} model
   * @param {import("./model.js").Start[]} starts
   * @param {Int32Array} list actions, one for each frame since the start state; none: there is no list
   */
  constructor(model, starts, list) {
    this.model = model;
    this.starts = starts;
    this.game = model.site.game;
    this.start = 0;
    this.seed = 0;
    this.list = list;
    this.drivers = ["you", ...(model.site.has_agent ? ["agent"] : []), ...(list.length ? ["list"] : [])];
    this.driver = "you";
    this.maxHistory = maxHistory(model.site);
    /** @type {State[]} */
    this.history = [];
    /** @type {State} */
    this.state = null;
    /** @type {Record<string, Float32Array>} what the model saw and predicted in the last step */
    this.seen = {};
    this.latentSize = model.site.latent_shape.reduce((a, b) => a * b);
    const [H, W] = model.site.frame_shape;
    this.agentView = new AgentView(W, H);
  }

  /**
   * Resets to a start state.
   * @param {number} [number] default: the current one
   */
  async restart(number = this.start) {
    const start = this.starts[number];
    const rgba = await this.model.begin(start);
    this.start = number;
    this.history = [];
    this.seen = {};
    this.state = { actions: start.actions, rgba, action: start.actions.at(-1), numFrames: 0 };
  }

  /** @param {number} offset 1: the next start state, -1: the previous one */
  changeStart(offset) {
    return this.restart((this.start + offset + this.starts.length) % this.starts.length);
  }

  /** Switches to the next driver. */
  cycleDriver() {
    this.driver = this.drivers[(this.drivers.indexOf(this.driver) + 1) % this.drivers.length];
  }

  /** Whether the list drives and has no more actions. */
  get isAtEnd() {
    return this.driver === "list" && this.state.numFrames >= this.list.length;
  }

  /**
   * The action that the driver chooses. That of the list is the one of the frame's number, so that it goes back in
   * a rewind; after its end it holds no key.
   * @param {Iterable<string>} held keys
   * @returns {Promise<number>}
   */
  async chooseAction(held) {
    if (this.driver === "you") return actionForKeys(held, this.game.action_keys);
    if (this.driver === "list") {
      return this.list[this.state.numFrames] ?? noopAction(this.game.action_keys);
    }
    const frames = [...this.history.slice(1 - STACK), this.state].map((state) => state.rgba);
    const logits = await this.model.logits(this.agentView.observe(frames));
    return sampleCategorical(logits, this.seed, AGENT_STREAM + this.state.numFrames);
  }

  /**
   * Generates the frame after an action.
   * @param {number} action
   * @param {boolean} wantSeen whether to fill `seen`
   * @param {Float32Array} [noise] (C, h, w), in place of that of the seed
   */
  async step(action, wantSeen = false, noise = undefined) {
    const before = this.state;
    const number = before.numFrames + 1;
    const actions = before.actions.slice();
    actions[actions.length - 1] = action;
    const { rgba, ...seen } = await this.model.frame({
      number,
      oldest: (this.history[0] ?? before).numFrames,
      actions,
      noise: noise ?? normal(this.seed, before.numFrames, this.latentSize),
      outputs: wantSeen ? ["flow", "warped", "residual"] : [],
    });
    if (this.state !== before) return; // restarted meanwhile
    this.history.push(before);
    while (this.history.length > this.maxHistory) this.history.shift();
    this.seen = seen;
    const next = new Int32Array(actions.length).fill(action);
    next.set(actions.subarray(1));
    this.state = { actions: next, rgba, action, numFrames: number };
  }

  /**
   * Goes back by one frame.
   * @returns {boolean} false if the history is empty
   */
  rewind() {
    if (!this.history.length) return false;
    this.state = this.history.pop();
    this.seen = {};
    return true;
  }
}

/**
 * Frames of the history: of each its colours and its latent are kept.
 * @param {import("./model.js").Site} site
 */
function maxHistory({ frame_shape: [H, W], latent_shape: latent, game }) {
  const bytes = 4 * (H * W + latent.reduce((a, b) => a * b));
  return Math.max(1, Math.min(Math.round(REWIND_SECONDS * game.fps), Math.floor(MAX_HISTORY_BYTES / bytes)));
}
