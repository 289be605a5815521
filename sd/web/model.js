/** The world model as the page sees it: calls to the worker, which runs the graphs. */

/** @typedef {{action_names: string[], action_keys: string[][], fps: number}} Game */
/**
 * @typedef {object} Site site.json
 * @property {string} version changes with every export
 * @property {Game} game
 * @property {number} context L, latents that the next one is predicted from
 * @property {[number, number, number]} latent_shape C, h, w
 * @property {[number, number]} frame_shape H, W
 * @property {number} num_starts
 * @property {boolean} has_agent
 * @property {boolean} has_list
 * @property {Record<string, number>} files sizes by name
 */
/** @typedef {{latents: Float32Array[], actions: Int32Array}} Start L latents and actions, oldest first */
/**
 * @typedef {object} FrameInputs
 * @property {number} number of the new frame, since the start state
 * @property {number} oldest number of the oldest frame that a rewind can lead to
 * @property {Int32Array} actions (L,); the last one leads to the new frame
 * @property {Float32Array} noise (C, h, w), where sampling starts
 * @property {string[]} outputs names of those that are wanted besides the frame
 */

export class Model {
  /** @param {Site} site */
  constructor(site) {
    this.site = site;
    this.backend = "";
    this.bits = 32;
    this.threads = 0;
    /** @type {string[]} names of the files that it needs, now and at the next visit */
    this.files = [];
    this.lastId = 0;
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.waiting = new Map();
    this.onProgress = (/** @type {number} */ _received, /** @type {number} */ _total) => {}; // bytes
    this.worker.onmessage = ({ data }) => this.#receive(data);
    this.worker.onerror = (event) => this.#fail(event.message || "the worker cannot be loaded");
  }

  #receive({ id, result, error, progress }) {
    if (progress) return this.onProgress(progress.received, progress.total);
    const call = this.waiting.get(id);
    this.waiting.delete(id);
    error === undefined ? call?.resolve(result) : call?.reject(new Error(error));
  }

  /** @param {string} message */
  #fail(message) {
    for (const { reject } of this.waiting.values()) reject(new Error(message));
    this.waiting.clear();
  }

  /**
   * @param {string} call
   * @param {object} args
   */
  #call(call, args) {
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, call, args });
    });
  }

  /**
   * Loads the graphs. backend and threads: from the address, for measurements; null and 0 for a choice. backend: how
   * the name of a variant (backend.js) begins.
   * @param {string | null} backend
   * @param {number} threads
   */
  async load(backend, threads) {
    Object.assign(this, await this.#call("load", { site: this.site, backend, threads }));
  }

  /** What runs the model, for people. */
  get name() {
    if (this.backend === "webgpu") return `WebGPU, float${this.bits}`;
    const limit = self.crossOriginIsolated ? "" : " (this host allows no more)";
    return `WebAssembly, ${this.threads} thread${this.threads > 1 ? "s" : ""}${limit}`;
  }

  /**
   * Begins a drive at a start state.
   * @param {Start} start
   * @returns {Promise<Uint8ClampedArray>} its frame, (H, W, 4)
   */
  async begin({ latents }) {
    return (await this.#call("begin", { latents })).rgba;
  }

  /**
   * The next frame, rgba, and of the outputs of sd/dream/web/graphs.py those that are wanted and that the model has.
   * After a rewind the frames that were taken back are lost.
   * @param {FrameInputs} inputs
   * @returns {Promise<Record<string, Float32Array> & {rgba: Uint8ClampedArray}>}
   */
  frame(inputs) {
    return this.#call("frame", inputs);
  }

  /** How many latents the worker holds, and how many of them on the GPU. */
  memory() {
    return this.#call("memory", {});
  }

  /**
   * @param {Uint8Array} views the agent's observation
   * @returns {Promise<Float32Array>} the logits of its actions
   */
  async logits(views) {
    return (await this.#call("agent", { views })).outputs;
  }
}
