/**
 * The worker that runs the graphs with ONNX Runtime Web, so that the page never waits for them. It also holds the latents
 * of the drive, which on WebGPU stay on the GPU.
 *
 * Messages: {id, call, args}; answers: {id, result} or {id, error}, and {progress: {received, total}} in bytes while the
 * files of a backend are fetched. The calls are the functions in CALLS; they run one after the other.
 */

import { OBS_SIZE, STACK } from "./agent_view.js";
import { Backend, VARIANTS, findGpu } from "./backend.js";
import { Files } from "./files.js";
import { Latents } from "./latents.js";

const TRIAL_FRAMES = 5; // on WebGPU; if they are slow, WebAssembly is used
const MIN_PSNR_DB = 40; // between a frame of a backend and that of the model; in float16 it is 56
const CHECK_FILE = "model/check.bin";

let site; // site.json
/** @type {Files} */
let files;
/** @type {Backend} */
let backend;
/** @type {Latents} */
let latents;

/** Threads for WebAssembly: more than four wait for each other longer than they compute. */
function threadCount(wanted) {
  if (!self.crossOriginIsolated) return 1;
  const cores = navigator.hardwareConcurrency || 1;
  return wanted || Math.min(cores, 4, Math.max(2, Math.ceil(cores / 2)));
}

/**
 * The variants to try, in this order.
 * @param {string | null} wanted how the name of a variant begins; null: those that are fast here
 */
async function candidates(wanted) {
  const gpu = await findGpu();
  return VARIANTS.filter(({ name, backend: kind, bits, graphs }) => {
    if (wanted && !name.startsWith(wanted)) return false;
    if (kind === "wasm") return true;
    if (!gpu || !(gpu.isReal || wanted)) return false;
    return bits === 32 || (gpu.hasHalf && `model/frame${graphs}` in site.files);
  });
}

/**
 * Opens a variant and generates a frame, which compiles what is compiled late.
 * @param {import("./backend.js").Variant} variant
 * @param {number} threads
 */
async function open(variant, threads) {
  backend = new Backend(site, variant);
  latents = new Latents(site.context);
  files.expect([...backend.files, CHECK_FILE]);
  const [check] = await Promise.all([files.fetch(CHECK_FILE), backend.open(files, threads)]);
  await checkFrame(check);
}

/**
 * Throws an error unless the backend generates the frame of the model: drivers of GPUs have faults.
 * @param {Uint8Array} check see sd/dream/web/check.py
 */
async function checkFrame(check) {
  const size = latentSize();
  const { context: L } = site;
  const start = Array.from({ length: L }, (_, i) => new Float32Array(check.buffer, 4 * i * size, size));
  const actions = new Int32Array(check.buffer, 4 * L * size, L);
  const expected = check.subarray(4 * L * (size + 1));
  await CALLS.begin({ latents: start });
  const { rgba } = await trialFrame(1, actions);
  let sum = 0;
  expected.forEach((level, i) => (sum += (level - rgba[i + Math.floor(i / 3)]) ** 2));
  const psnr = -10 * Math.log10(sum / expected.length / 255 ** 2);
  if (!(psnr >= MIN_PSNR_DB)) throw new Error(`${backend.variant.name} generates other frames (${psnr.toFixed(0)} dB)`);
}

/**
 * @param {number} number
 * @param {Int32Array} actions (L,)
 */
function trialFrame(number, actions) {
  return CALLS.frame({ number, oldest: number - 1, actions, noise: new Float32Array(latentSize()), outputs: [] });
}

const latentSize = () => site.latent_shape.reduce((a, b) => a * b);

/** Whether most of some frames take less time than a frame of the game. */
async function isFastEnough() {
  let numSlow = 0;
  for (let i = 0; i < TRIAL_FRAMES && numSlow <= TRIAL_FRAMES / 2; i++) {
    const began = performance.now();
    await trialFrame(i + 2, new Int32Array(site.context)); // the first one is that of `checkFrame`
    numSlow += Number(performance.now() - began >= 1000 / site.game.fps);
  }
  return numSlow <= TRIAL_FRAMES / 2;
}

/**
 * Names of the files for use without a network: also those of WebAssembly, because a GPU that was chosen now may be slow
 * or switched off at the next visit.
 */
function filesToKeep() {
  const safe = VARIANTS.filter(({ backend: kind }) => kind === "wasm").map((variant) => new Backend(site, variant));
  return [...new Set([backend, ...safe].flatMap((each) => each.files)), CHECK_FILE];
}

/** @param {any} tensor int32 (H, W), see pack_rgba in sd/dream/web/graphs.py */
function toBytes(tensor) {
  const { buffer, byteOffset, byteLength } = tensor.data;
  return new Uint8ClampedArray(buffer, byteOffset, byteLength);
}

/** The frame of a latent: tensors rgb and rgba. */
const decode = (latent) => backend.run("decode", { latent }, ["rgb", "rgba"]);

const CALLS = {
  /**
   * Loads the model in the fastest backend. backend and threads: null and 0 for a choice.
   * @param {{site: import("./model.js").Site, backend: string | null, threads: number}} wanted
   * @returns {Promise<{backend: string, bits: number, threads: number, files: string[]}>} files: of `filesToKeep`
   */
  async load(wanted) {
    site = wanted.site;
    files = new Files(site, (progress) => postMessage({ progress }));
    const threads = threadCount(wanted.threads);
    let problem = new Error(`no backend ${wanted.backend} in this browser`);
    let isSlow = false;
    for (const variant of await candidates(wanted.backend)) {
      const { backend: kind, bits } = variant;
      if (isSlow && kind === "webgpu") continue;
      try {
        await open(variant, threads);
        isSlow = kind === "webgpu" && !wanted.backend && !(await isFastEnough());
        if (!isSlow) return { backend: kind, bits, threads, files: filesToKeep() };
      } catch (each) {
        problem = each;
      }
      latents.restart([]);
      await backend.close();
    }
    throw problem;
  },

  /**
   * Begins a drive at a start state.
   * @param {{latents: Float32Array[]}} start L latents, oldest first
   * @returns {Promise<{rgba: Uint8ClampedArray}>} its frame, (H, W, 4)
   */
  async begin({ latents: arrays }) {
    const dims = [1, ...site.latent_shape];
    latents.restart(arrays.map((data) => backend.tensor("float32", data, dims)));
    const { rgb, rgba } = await decode(latents.before(1).at(-1));
    latents.setFrame(0, rgb);
    return { rgba: toBytes(rgba) };
  },

  /**
   * The next frame.
   * @param {import("./model.js").FrameInputs} inputs
   * @returns {Promise<Record<string, Float32Array> & {rgba: Uint8ClampedArray}>}
   */
  async frame({ number, oldest, actions, noise, outputs }) {
    const context = latents.before(number);
    // After a rewind the last latent is decoded again.
    if (!latents.decoded(number - 1)) latents.setFrame(number - 1, (await decode(context.at(-1))).rgb);
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
  },

  /**
   * The logits of the agent's actions.
   * @param {{views: Uint8Array}} inputs (STACK, OBS_SIZE, OBS_SIZE)
   * @returns {Promise<{outputs: Float32Array}>}
   */
  async agent({ views }) {
    const inputs = { views: backend.tensor("uint8", views, [1, STACK, OBS_SIZE, OBS_SIZE]) };
    return { outputs: (await backend.run("agent", inputs, ["outputs"])).outputs.data };
  },

  /** How many latents are held, and how many of them on the GPU: for tests. */
  async memory() {
    const tensors = [...latents.tensors.values()];
    return { count: tensors.length, onGpu: tensors.filter(({ location }) => location === "gpu-buffer").length };
  },
};

/** Carries out a call and sends its answer. */
async function answer({ id, call, args }) {
  try {
    const result = await CALLS[call](args);
    const buffers = Object.values(result).flatMap((value) => (ArrayBuffer.isView(value) ? [value.buffer] : []));
    postMessage({ id, result }, { transfer: buffers });
  } catch (problem) {
    postMessage({ id, error: String(problem?.message ?? problem) });
  }
}

let queue = Promise.resolve(); // the runtime runs one graph at a time
self.onmessage = ({ data }) => (queue = queue.then(() => answer(data)));
