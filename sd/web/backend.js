/** ONNX Runtime Web with the graphs of one variant: on WebGPU in float16 or float32, or in WebAssembly. */

import { settleAll } from "./settle.js";

const CPU_BUILD = { script: "ort.wasm.min.mjs", glue: "ort-wasm-simd-threaded" };
const GPU_BUILD = { script: "ort.webgpu.min.mjs", glue: "ort-wasm-simd-threaded.asyncify" };

/**
 * @typedef {object} Variant
 * @property {string} name for the address and in the names of its graphs, as in sd/dream/web/variants.py
 * @property {"webgpu" | "wasm"} backend
 * @property {number} bits of its numbers
 * @property {{script: string, glue: string}} build of the runtime
 */
/** @type {Variant[]} the fastest first */
export const VARIANTS = [
  { name: "webgpu16", backend: "webgpu", bits: 16, build: GPU_BUILD },
  { name: "webgpu32", backend: "webgpu", bits: 32, build: GPU_BUILD },
  { name: "wasm", backend: "wasm", bits: 32, build: CPU_BUILD },
];
// What the next frame is made of stays on the GPU; of the other outputs, those that a run asks for are read back.
const LOCATIONS = { latent: "gpu-buffer", rgb: "gpu-buffer" };

/**
 * @typedef {object} Gpu what the browser's WebGPU is
 * @property {boolean} isReal false: a software adapter, which is slower than WebAssembly
 * @property {boolean} hasHalf whether it computes in float16
 */

/** @returns {Promise<Gpu | null>} null: it has none */
export async function findGpu() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (!adapter) return null;
  const isReal = !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter);
  return { isReal, hasHalf: adapter.features.has("shader-f16") };
}

export class Backend {
  /**
   * @param {import("./model.js").Site} site
   * @param {Variant} variant
   */
  constructor(site, variant) {
    this.site = site;
    this.variant = variant;
    this.ort = null; // the runtime's module
    this.sessions = {}; // of the graphs: frame, decode and, if there is an agent, agent
    const { script, glue } = variant.build;
    this.graphs = ["frame", "decode"].map((name) => `model/${name}.${variant.name}.onnx`);
    if (site.has_agent) this.graphs.push("model/agent.onnx");
    const [module, loader, binary] = [script, `${glue}.mjs`, `${glue}.wasm.gz`].map((name) => `runtime/${name}`);
    this.runtime = { module, loader, binary };
  }

  /** Names of the files that this variant alone needs. */
  get files() {
    return [...Object.values(this.runtime), "model/weights.bin", ...this.graphs];
  }

  /**
   * Loads runtime and graphs.
   * @param {import("./files.js").Files} files
   * @param {number} threads
   */
  async open(files, threads) {
    const { backend } = this.variant;
    const [ort, binary, weights, ...models] = await settleAll([
      files.import(this.runtime.module),
      files.fetchCompressed(this.runtime.binary),
      files.fetch("model/weights.bin"),
      ...this.graphs.map((name) => files.fetch(name)),
    ]);
    this.ort = ort;
    ort.env.logLevel = "error"; // it warns of operators that stay on the CPU
    ort.env.wasm.numThreads = threads;
    ort.env.wasm.wasmPaths = { mjs: files.url(this.runtime.loader) };
    ort.env.wasm.wasmBinary = binary;
    const options = {
      executionProviders: [backend],
      externalData: [{ path: "weights.bin", data: weights }],
      graphOptimizationLevel: "all",
      logSeverityLevel: 3,
      ...(backend === "webgpu" ? { preferredOutputLocation: LOCATIONS } : {}),
    };
    const create = async (i, how) => {
      const session = ort.InferenceSession.create(models[i], how);
      return await session.catch((problem) => {
        throw new Error(`${this.graphs[i]} cannot be loaded (${problem?.message ?? problem})`);
      });
    };
    this.sessions.frame = await create(0, options);
    this.sessions.decode = await create(1, options);
    // The agent's network is too small for a GPU.
    if (models[2]) this.sessions.agent = await create(2, { executionProviders: ["wasm"] });
  }

  /** Frees the memory of the sessions. */
  async close() {
    for (const session of Object.values(this.sessions)) await session.release().catch(() => {});
    this.sessions = {};
  }

  /**
   * @param {string} type
   * @param {any} data
   * @param {number[]} dims
   */
  tensor(type, data, dims) {
    return new this.ort.Tensor(type, data, dims);
  }

  /**
   * Runs a graph.
   * @param {string} name
   * @param {Record<string, any>} inputs tensors; those that the graph does not have are left out
   * @param {string[]} outputs names of those that are wanted, if the graph has them
   * @returns {Promise<Record<string, any>>} tensors; latent and rgb may be on the GPU, the caller disposes of them
   */
  run(name, inputs, outputs) {
    const session = this.sessions[name];
    const feeds = Object.fromEntries(session.inputNames.map((input) => [input, inputs[input]]));
    return session.run(
      feeds,
      outputs.filter((output) => session.outputNames.includes(output)),
    );
  }
}
