/** A play session, as in sd/dream/play/session.py: steps the model by the driver's actions, rewinds, restarts. */

import { AgentView, STACK } from "./agent_view.js";
import { actionForKeys } from "./keys.js";
import { normal, sampleCategorical } from "./random.js";

const REWIND_SECONDS = 20; // length of the history; a frame of the pretrained model takes 0.15 MB
const MAX_HISTORY_BYTES = 100e6; // of a model with large frames or latents the history is shorter
const AGENT_STREAM = 2 ** 30; // of the agent's random numbers, apart from those of the noise

/**
 * @typedef {object} State it is never changed
 * @property {Float32Array[]} latents the context, oldest first
 * @property {Int32Array} actions the last one is a placeholder for the next action
 * @property {Uint8ClampedArray} rgba the frame
 * @property {Float32Array | null} frame the same, (3, H, W), about 0-1; null: to be decoded from the last latent
 * @property {number} action that led to it
 * @property {number} numFrames since the start state
 */

export class Session {
  /**
   * @param {import("./model.js").Model} model
   * @param {import("./model.js").Start[]} starts
   */
  constructor(model, starts) {
    this.model = model;
    this.starts = starts;
    this.game = model.site.game;
    this.start = 0;
    this.seed = 0;
    this.drivers = model.site.has_agent ? ["you", "agent"] : ["you"];
    this.driver = "you";
    this.maxHistory = maxHistory(model.site);
    /** @type {State[]} */
    this.history = [];
    /** @type {State} */
    this.state = null;
    /** @type {Record<string, Float32Array>} what the model saw and predicted in the last step */
    this.seen = {};
    const [H, W] = model.site.frame_shape;
    this.agentView = new AgentView(W, H);
  }

  /** Resets to the current start state. */
  async restart() {
    const { latents, actions } = this.starts[this.start];
    const frame = await this.model.decode(latents.at(-1));
    this.history = [];
    this.seen = {};
    this.state = { latents, actions, frame, rgba: toRgba(frame), action: actions.at(-1), numFrames: 0 };
  }

  /** @param {number} offset 1: the next start state, -1: the previous one */
  async changeStart(offset) {
    this.start = (this.start + offset + this.starts.length) % this.starts.length;
    await this.restart();
  }

  /** Switches to the next driver. */
  cycleDriver() {
    this.driver = this.drivers[(this.drivers.indexOf(this.driver) + 1) % this.drivers.length];
  }

  /**
   * The action that the driver chooses.
   * @param {Iterable<string>} held keys
   * @returns {Promise<number>}
   */
  async chooseAction(held) {
    if (this.driver === "you") return actionForKeys(held, this.game.action_keys);
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
    const [{ length: size }, L] = [before.latents[0], before.latents.length];
    const context = new Float32Array(L * size);
    before.latents.forEach((latent, i) => context.set(latent, i * size));
    const actions = before.actions.slice();
    actions[L - 1] = action;
    const result = await this.model.frame({
      context,
      actions,
      frame: before.frame ?? (await this.model.decode(before.latents.at(-1))),
      noise: noise ?? normal(this.seed, before.numFrames, size),
      outputs: ["latent", "rgb", ...(wantSeen ? ["flow", "warped", "residual"] : [])],
    });
    if (this.state !== before) return; // restarted meanwhile
    this.history.push({ ...before, frame: null });
    if (this.history.length > this.maxHistory) this.history.shift();
    const { latent, rgb, ...seen } = result;
    this.seen = seen;
    const next = new Int32Array(L);
    next.set(actions.subarray(1));
    next[L - 1] = action;
    this.state = {
      latents: [...before.latents.slice(1), latent],
      actions: next,
      frame: rgb,
      rgba: toRgba(rgb),
      action,
      numFrames: before.numFrames + 1,
    };
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

/**
 * A frame in 8 bits: the array clamps and rounds as PyTorch does, half to even.
 * @param {Float32Array} rgb (3, H, W), about 0-1
 * @returns {Uint8ClampedArray} (H, W, 4)
 */
export function toRgba(rgb) {
  const size = rgb.length / 3;
  const rgba = new Uint8ClampedArray(4 * size);
  for (let i = 0; i < size; i++) {
    rgba[4 * i] = 255 * rgb[i];
    rgba[4 * i + 1] = 255 * rgb[size + i];
    rgba[4 * i + 2] = 255 * rgb[2 * size + i];
    rgba[4 * i + 3] = 255;
  }
  return rgba;
}
