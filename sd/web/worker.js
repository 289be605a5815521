/**
 * The worker that runs the graphs with ONNX Runtime Web, so that the page never waits for them. It also holds the latents
 * of the drive, which on WebGPU stay on the GPU.
 *
 * Messages: {id, call, args}; answers: {id, result} or {id, error}, and {progress: {received, total}} in bytes while the
 * files of a backend are fetched. The calls are the functions in CALLS; they run one after the other.
 */

import { Backend, VARIANTS, findGpu } from "./backend.js";
import { candidates, chooseBackend } from "./choose_backend.js";
import { Files } from "./files.js";
import { CHECK_FILE, Generator, checkFileSize } from "./generator.js";
import { settleAll } from "./settle.js";

/** @type {Generator} */
let generator;

/** Threads for WebAssembly: more than four wait for each other longer than they compute. */
function threadCount(wanted) {
  if (!self.crossOriginIsolated) return 1;
  const cores = navigator.hardwareConcurrency || 1;
  return wanted || Math.min(cores, 4, Math.max(2, Math.ceil(cores / 2)));
}

/**
 * Opens a variant, and generates a frame that is compared with the model's.
 * @param {Files} files
 * @param {import("./backend.js").Variant} variant
 * @param {number} threads
 */
async function open(files, variant, threads) {
  const backend = new Backend(files.site, variant);
  const opened = new Generator(files.site, backend);
  try {
    files.expect([...backend.files, CHECK_FILE]);
    const [check] = await settleAll([files.fetch(CHECK_FILE), backend.open(files, threads)]);
    await opened.checkFrame(check);
    return opened;
  } catch (problem) {
    await opened.close();
    throw problem;
  }
}

/**
 * Names of the files for use without a network: also those of WebAssembly, because a GPU that was chosen now may be slow
 * or switched off at the next visit.
 * @param {import("./model.js").Site} site
 */
function filesToKeep(site) {
  const safe = VARIANTS.filter(({ backend }) => backend === "wasm").map((variant) => new Backend(site, variant));
  return [...new Set([generator.backend, ...safe].flatMap((each) => each.files)), CHECK_FILE];
}

const CALLS = {
  /**
   * Loads the model in the fastest backend. backend and threads: null and 0 for a choice.
   * @param {{site: import("./model.js").Site, backend: string | null, threads: number}} wanted
   * @returns {Promise<{backend: string, bits: number, threads: number, files: string[]}>} files: of `filesToKeep`
   */
  async load({ site, backend: wanted, threads: wantedThreads }) {
    const files = new Files(site, (progress) => postMessage({ progress }));
    const threads = threadCount(wantedThreads);
    const frameMs = 1000 / site.game.fps;
    const exists = (variant) => new Backend(site, variant).files.every((name) => name in site.files);
    const variants = candidates(VARIANTS, wanted, await findGpu(), exists);
    if (!variants.length) throw new Error(`no backend ${wanted} in this browser`);
    files.expect([...new Backend(site, variants[0]).files, CHECK_FILE]);
    const isWhole = (await files.fetch(CHECK_FILE)).length === checkFileSize(site);
    if (!isWhole) throw new Error(`${CHECK_FILE} is damaged: export the page again`);
    generator = await chooseBackend(variants, frameMs, !wanted, {
      open: (variant) => open(files, variant, threads),
      measure: (opened) => opened.medianMs(frameMs),
      close: (opened) => opened.close(),
    });
    files.forget();
    const { backend, bits } = generator.backend.variant;
    return { backend, bits, threads, files: filesToKeep(site) };
  },

  begin: (start) => generator.begin(start),
  frame: (inputs) => generator.frame(inputs),
  agent: (inputs) => generator.agent(inputs),
  memory: async () => generator.memory(),
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
