/** Generates the frames of a drive with one backend, whose latents it holds. */

import { OBS_SIZE, STACK } from "./agent_view.js";
import { Latents } from "./latents.js";

export const CHECK_FILE = "model/check.bin"; // see sd/dream/web/check.py
const TRIAL_FRAMES = 5; // whose times are compared
/**
 * Between a frame of a backend and that of the model. Less than at the export (45 dB, sd/dream/web/check.py), which has
 * tested the graphs: in float16 a GPU has 56 dB, and what is looked for are faults of its driver, far below 40 dB.
 */
const MIN_PSNR_DB = 40;

export class Generator {
  /**
   * @param {import("./model.js").Site} site
   * @param {import("./backend.js").Backend} backend it is opened
   */
  constructor(site, backend) {
    this.site = site;
    this.backend = backend;
    this.latents = new Latents(site.context);
    this.latentSize = site.latent_shape.reduce((a, b) => a * b);
  }

  /** Frees the memory of the latents and of the backend. Never fails: a GPU that is lost has freed it already. */
  async close() {
    try {
      this.latents.restart([]);
    } catch {}
    await this.backend.close();
  }

  /** The frame of a latent: tensors rgb and rgba. */
  #decode(latent) {
    return this.backend.run("decode", { latent }, ["rgb", "rgba"]);
  }

  /**
   * Begins a drive at a start state.
   * @param {{latents: Float32Array[]}} start L latents, oldest first
   * @returns {Promise<{rgba: Uint8ClampedArray}>} its frame, (H, W, 4)
   */
  async begin({ latents: arrays }) {
    const { backend, latents, site } = this;
    const dims = [1, ...site.latent_shape];
    latents.restart(arrays.map((data) => backend.tensor("float32", data, dims)));
    const { rgb, rgba } = await this.#decode(latents.before(1).at(-1));
    latents.setFrame(0, rgb);
    return { rgba: toBytes(rgba) };
  }

  /**
   * The next frame.
   * @param {import("./model.js").FrameInputs} inputs
   * @returns {Promise<Record<string, Float32Array> & {rgba: Uint8ClampedArray}>}
   */
  async frame({ number, oldest, actions, noise, outputs }) {
    const { backend, latents, site } = this;
    const context = latents.before(number);
    // After a rewind the last latent is decoded again.
    if (!latents.decoded(number - 1)) latents.setFrame(number - 1, (await this.#decode(context.at(-1))).rgb);
    const inputs = {
      // On WebGPU 64-bit numbers stay on the CPU; of 32-bit ones a result would be read back within the frame.
      actions: backend.tensor("int64", BigInt64Array.from(actions, BigInt), [1, site.context]),
      frame: latents.decoded(number - 1),
      noise: backend.tensor("float32", noise, [1, ...site.latent_shape]),
      ...Object.fromEntries(context.map((latent, i) => [`latent${i}`, latent])),
    };
    const results = await backend.run("frame", inputs, ["latent", "rgb", "rgba", ...outputs]);
    const { latent, rgb, rgba, ...others } = results;
    latents.add(number, latent, oldest);
    latents.setFrame(number, rgb);
    const arrays = Object.fromEntries(Object.entries(others).map(([name, { data }]) => [name, data]));
    return { rgba: toBytes(rgba), ...arrays };
  }

  /**
   * The logits of the agent's actions.
   * @param {{views: Uint8Array}} inputs (STACK, OBS_SIZE, OBS_SIZE)
   * @returns {Promise<{outputs: Float32Array}>}
   */
  async agent({ views }) {
    const inputs = { views: this.backend.tensor("uint8", views, [1, STACK, OBS_SIZE, OBS_SIZE]) };
    return { outputs: (await this.backend.run("agent", inputs, ["outputs"])).outputs.data };
  }

  /** How many latents are held, and how many of them on the GPU: for tests. */
  memory() {
    const tensors = [...this.latents.tensors.values()];
    return { count: tensors.length, onGpu: tensors.filter(({ location }) => location === "gpu-buffer").length };
  }

  // -- trials ----------------------------------------------------------------------------------------------------

  /**
   * Throws an error unless the backend generates the frame of the model: drivers of GPUs have faults. It also compiles
   * what is compiled late.
   * @param {Uint8Array} check content of CHECK_FILE
   */
  async checkFrame(check) {
    const { latentSize: size } = this;
    const { context: L } = this.site;
    const start = Array.from({ length: L }, (_, i) => new Float32Array(check.buffer, 4 * i * size, size));
    const actions = new Int32Array(check.buffer, 4 * L * size, L);
    const expected = check.subarray(4 * L * (size + 1));
    await this.begin({ latents: start });
    const { rgba } = await this.#trialFrame(1, actions);
    let sum = 0;
    expected.forEach((level, i) => (sum += (level - rgba[i + Math.floor(i / 3)]) ** 2));
    const psnr = -10 * Math.log10(sum / expected.length / 255 ** 2);
    if (psnr >= MIN_PSNR_DB) return;
    const { name, backend } = this.backend.variant;
    // WebAssembly depends on no driver.
    const reason =
      backend === "wasm" ? `: the model and ${CHECK_FILE} do not belong together, export the page again` : "";
    throw new Error(`${name} generates other frames (${psnr.toFixed(0)} dB)${reason}`);
  }

  /**
   * The median time of some frames after that of `checkFrame`, ms. It gives up when most of them are too slow.
   * @param {number} frameMs from which on a frame is too slow
   */
  async medianMs(frameMs) {
    const times = [];
    let numSlow = 0;
    while (times.length < TRIAL_FRAMES && numSlow <= TRIAL_FRAMES / 2) {
      const began = performance.now();
      await this.#trialFrame(times.length + 2, new Int32Array(this.site.context));
      times.push(performance.now() - began);
      numSlow += Number(times.at(-1) >= frameMs);
    }
    return times.sort((a, b) => a - b)[times.length >> 1];
  }

  /**
   * @param {number} number
   * @param {Int32Array} actions (L,)
   */
  #trialFrame(number, actions) {
    return this.frame({ number, oldest: number - 1, actions, noise: new Float32Array(this.latentSize), outputs: [] });
  }
}

/**
 * How long CHECK_FILE is, in bytes.
 * @param {import("./model.js").Site} site
 */
export function checkFileSize({ context, latent_shape: [C, h, w], frame_shape: [H, W] }) {
  return 4 * context * (C * h * w + 1) + 3 * H * W;
}

/** @param {any} tensor int32 (H, W), see pack_rgba in sd/dream/web/graphs.py */
function toBytes(tensor) {
  const { buffer, byteOffset, byteLength } = tensor.data;
  return new Uint8ClampedArray(buffer, byteOffset, byteLength);
}
