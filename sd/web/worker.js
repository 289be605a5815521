/**
 * The worker that runs the graphs with ONNX Runtime Web, so that the page never waits for them.
 *
 * Messages: {id, call, args}; answers: {id, result} or {id, error}, and {progress: {received, total}} in bytes while the
 * files of a backend are fetched. The calls are the functions in CALLS.
 */

import { OBS_SIZE, STACK } from "./agent_view.js";

const TRIAL_FRAMES = 5; // on WebGPU; if they are slow, WebAssembly is used
const BUILDS = {
  wasm: { script: "ort.wasm.min.mjs", glue: "ort-wasm-simd-threaded", graphs: ".wasm.onnx" },
  webgpu: { script: "ort.webgpu.min.mjs", glue: "ort-wasm-simd-threaded.asyncify", graphs: ".onnx" },
};

let ort; // the runtime's module
let site; // site.json
let sessions = {}; // of the graphs: frame, decode and, if there is an agent, agent
let progress = { received: 0, total: 0 }; // of the files that are fetched, bytes

/** @param {string} name of a file in the page's folder; the version keeps caches of older exports out */
const fileUrl = (name) => new URL(`${name}?v=${site.version}`, self.location.href).href;

/**
 * Fetches a file; reports its progress.
 * @param {string} name
 * @returns {Promise<Uint8Array>}
 */
async function fetchFile(name) {
  const response = await fetch(fileUrl(name));
  if (!response.ok) throw new Error(`${name}: the server answers ${response.status}`);
  const content = new Uint8Array(site.files[name]);
  const reader = response.body.getReader();
  let received = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const room = content.length - received;
    content.set(part.value.subarray(0, room), received);
    received += part.value.length;
    if (received > site.files[name]) break;
    progress.received += part.value.length;
    postMessage({ progress });
  }
  if (received < content.length) throw new Error(`${name} is incomplete`);
  if (received === content.length) return content;
  // A host that decompresses .gz files on the way sends more than the file holds: read it again, whole.
  await reader.cancel();
  return new Uint8Array(await (await fetch(fileUrl(name))).arrayBuffer());
}

/**
 * Fetches a compressed file, which some hosts decompress on the way.
 * @param {string} name
 * @returns {Promise<ArrayBuffer>}
 */
async function fetchCompressed(name) {
  const content = await fetchFile(name);
  if (content[0] !== 0x1f || content[1] !== 0x8b) return content.buffer;
  return new Response(new Blob([content]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** Threads for WebAssembly: more than four wait for each other longer than they compute. */
function threadCount(wanted) {
  if (!self.crossOriginIsolated) return 1;
  const cores = navigator.hardwareConcurrency || 1;
  return wanted || Math.min(cores, 4, Math.max(2, Math.ceil(cores / 2)));
}

/**
 * Whether the browser has WebGPU on a real GPU: a software adapter is slower than WebAssembly.
 * @returns {Promise<boolean>}
 */
async function hasGpu() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter) && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter);
}

/**
 * Loads runtime and graphs.
 * @param {"wasm" | "webgpu"} backend
 * @param {number} threads
 */
async function open(backend, threads) {
  const { script, glue, graphs } = BUILDS[backend];
  const [compressed, weightFile] = [`runtime/${glue}.wasm.gz`, "model/weights.bin"];
  const names = ["frame", "decode"].map((name) => `model/${name}${graphs}`);
  if (site.has_agent) names.push("model/agent.onnx");
  const total = [compressed, weightFile, ...names].reduce((sum, name) => sum + site.files[name], 0);
  progress = { received: 0, total };
  const [module, binary, weights, ...models] = await Promise.all([
    import(fileUrl(`runtime/${script}`)),
    fetchCompressed(compressed),
    fetchFile(weightFile),
    ...names.map(fetchFile),
  ]);
  ort = module;
  ort.env.logLevel = "error"; // it warns of operators that stay on the CPU
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = { mjs: fileUrl(`runtime/${glue}.mjs`) };
  ort.env.wasm.wasmBinary = binary;
  const externalData = [{ path: "weights.bin", data: weights }];
  const options = { executionProviders: [backend], externalData, graphOptimizationLevel: "all", logSeverityLevel: 3 };
  sessions.frame = await ort.InferenceSession.create(models[0], options);
  sessions.decode = await ort.InferenceSession.create(models[1], options);
  // The agent's network is too small for a GPU.
  if (site.has_agent) sessions.agent = await ort.InferenceSession.create(models[2], { executionProviders: ["wasm"] });
}

/** Frees the memory of the sessions. */
async function close() {
  for (const session of Object.values(sessions)) await session.release().catch(() => {});
  sessions = {};
}

/**
 * Runs a graph; of its outputs only the wanted ones are returned, as arrays.
 * @param {string} name
 * @param {Record<string, {data: any, type: string, dims: number[]}>} inputs
 * @param {string[]} outputs
 * @returns {Promise<Record<string, Float32Array>>}
 */
async function run(name, inputs, outputs) {
  const session = sessions[name];
  const feeds = {};
  for (const each of session.inputNames) {
    const { data, type, dims } = inputs[each];
    feeds[each] = new ort.Tensor(type, data, dims);
  }
  const wanted = outputs.filter((output) => session.outputNames.includes(output));
  const results = await session.run(feeds, wanted);
  const arrays = {};
  for (const output of wanted) {
    arrays[output] = (await results[output].getData()).slice();
    results[output].dispose();
  }
  return arrays;
}

const CALLS = {
  /**
   * Loads the model in the fastest backend and generates a frame, which compiles what is compiled late.
   * backend and threads: null and 0 for a choice.
   * @param {{site: object, backend: string | null, threads: number}} wanted
   * @returns {Promise<{backend: string, threads: number}>}
   */
  async load(wanted) {
    site = wanted.site;
    const threads = threadCount(wanted.threads);
    if (wanted.backend === "webgpu" || (!wanted.backend && (await hasGpu()))) {
      try {
        await open("webgpu", threads);
        await trialFrame();
        if (wanted.backend || (await isFastEnough())) return { backend: "webgpu", threads };
      } catch (problem) {
        if (wanted.backend) throw problem;
      }
      await close();
    }
    await open("wasm", threads);
    await trialFrame();
    return { backend: "wasm", threads };
  },

  /**
   * The frame of a latent.
   * @param {{latent: Float32Array}} inputs
   * @returns {Promise<{rgb: Float32Array}>}
   */
  decode({ latent }) {
    return run("decode", { latent: { data: latent, type: "float32", dims: [1, ...site.latent_shape] } }, ["rgb"]);
  },

  /**
   * The next frame.
   * @param {import("./model.js").FrameInputs} inputs
   * @returns {Promise<Record<string, Float32Array>>}
   */
  frame({ context, actions, frame, noise, outputs }) {
    const L = site.context;
    const inputs = {
      context: { data: context, type: "float32", dims: [1, L, ...site.latent_shape] },
      // On WebGPU 64-bit numbers stay on the CPU; of 32-bit ones a result would be read back within the frame.
      actions: { data: BigInt64Array.from(actions, BigInt), type: "int64", dims: [1, L] },
      frame: { data: frame, type: "float32", dims: [1, 3, ...site.frame_shape] },
      noise: { data: noise, type: "float32", dims: [1, ...site.latent_shape] },
    };
    return run("frame", inputs, outputs);
  },

  /**
   * The logits of the agent's actions.
   * @param {{views: Uint8Array}} inputs (STACK, OBS_SIZE, OBS_SIZE)
   * @returns {Promise<{outputs: Float32Array}>}
   */
  agent({ views }) {
    return run("agent", { views: { data: views, type: "uint8", dims: [1, STACK, OBS_SIZE, OBS_SIZE] } }, ["outputs"]);
  },
};

/** Generates a frame from zeros; returns its time in ms. */
async function trialFrame() {
  const size = site.latent_shape.reduce((a, b) => a * b);
  const [H, W] = site.frame_shape;
  const began = performance.now();
  await CALLS.frame({
    context: new Float32Array(site.context * size),
    actions: new Int32Array(site.context),
    frame: new Float32Array(3 * H * W),
    noise: new Float32Array(size),
    outputs: ["latent", "rgb"],
  });
  return performance.now() - began;
}

/** Whether most of some frames take less time than a frame of the game. */
async function isFastEnough() {
  const times = [];
  for (let i = 0; i < TRIAL_FRAMES; i++) times.push(await trialFrame());
  return times.sort((a, b) => a - b)[TRIAL_FRAMES >> 1] < 1000 / site.game.fps;
}

self.onmessage = async ({ data: { id, call, args } }) => {
  try {
    const result = await CALLS[call](args);
    const buffers = Object.values(result).flatMap((value) => (ArrayBuffer.isView(value) ? [value.buffer] : []));
    postMessage({ id, result }, { transfer: buffers });
  } catch (problem) {
    postMessage({ id, error: String(problem?.message ?? problem) });
  }
};
