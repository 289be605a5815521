/** Reads and checks the page's own files, other than those that the worker reads. */

/** @typedef {import("./model.js").Site} Site */
/** @typedef {import("./model.js").Start} Start */

const KIND = "dream web page"; // as in sd/dream/web/site_folder.py
const MAX_LIST = 1_000_000; // frames, as in sd/dream/play/keys.py: a damaged file must not take all memory
const AGAIN = "export the page again";

/**
 * @param {string} name
 * @param {string} [query]
 */
async function fetchFile(name, query = "") {
  const response = await fetch(name + query).catch((problem) => {
    throw new Error(`${name} cannot be fetched (${problem.message})`);
  });
  if (!response.ok) throw new Error(`${name}: the server answers ${response.status}`);
  return response;
}

/** @returns {Promise<Site>} site.json */
export async function loadSite() {
  const site = await (await fetchFile("site.json")).json().catch(() => null);
  if (!isSite(site)) throw new Error(`site.json is damaged, or not of this page: ${AGAIN}`);
  return site;
}

const isCount = (value) => Number.isSafeInteger(value) && value > 0;
/**
 * @param {any} value
 * @param {(each: any) => boolean} isGood
 * @param {number} [length] default: any but 0
 */
const isList = (value, isGood, length) =>
  Array.isArray(value) && (length === undefined ? value.length > 0 : value.length === length) && value.every(isGood);
const isText = (value) => typeof value === "string";

/**
 * Whether a value is a site.json with all that the page reads of it.
 * @param {any} site
 * @returns {site is Site}
 */
export function isSite(site) {
  const game = site?.game;
  return (
    site?.kind === KIND &&
    isText(site.version) &&
    isList(game?.action_names, isText) &&
    isList(game.action_keys, (keys) => Array.isArray(keys) && keys.every(isText), game.action_names.length) &&
    Number.isFinite(game.fps) &&
    game.fps > 0 &&
    isCount(site.context) &&
    isList(site.latent_shape, isCount, 3) &&
    isList(site.frame_shape, isCount, 2) &&
    isCount(site.num_starts) &&
    [site.has_agent, site.has_list].every((value) => typeof value === "boolean") &&
    Object.values(site.files ?? [null]).every((size) => Number.isSafeInteger(size) && size >= 0)
  );
}

/**
 * Reads the start states.
 * @param {Site} site
 * @returns {Promise<Start[]>}
 */
export async function loadStarts(site) {
  const name = "model/starts.bin";
  const buffer = await (await fetchFile(name, `?v=${site.version}`)).arrayBuffer();
  const { num_starts: K, context: L } = site;
  const size = site.latent_shape.reduce((a, b) => a * b);
  if (buffer.byteLength !== 4 * K * L * (size + 1)) throw new Error(`${name} is damaged: ${AGAIN}`);
  return Array.from({ length: K }, (_, k) => ({
    latents: Array.from({ length: L }, (_, l) => new Float32Array(buffer, 4 * (k * L + l) * size, size)),
    actions: new Int32Array(buffer, 4 * (K * L * size + k * L), L),
  }));
}

/**
 * Reads the recorded list of actions.
 * @param {Site} site
 * @returns {Promise<Int32Array>} an action for each frame; none if there is no list
 */
export async function loadList(site) {
  if (!site.has_list) return new Int32Array();
  const name = "model/list.bin";
  const actions = expandRuns(
    await (await fetchFile(name, `?v=${site.version}`)).arrayBuffer(),
    site.game.action_names.length,
  );
  if (!actions) throw new Error(`${name} is damaged: ${AGAIN}`);
  return actions;
}

/**
 * @param {ArrayBuffer} buffer int32 (R, 2): an action, and for how many frames
 * @param {number} numActions
 * @returns {Int32Array | null} an action for each frame; null if the runs are not such
 */
export function expandRuns(buffer, numActions) {
  if (buffer.byteLength === 0 || buffer.byteLength % 8) return null;
  const runs = new Int32Array(buffer);
  let length = 0;
  for (let i = 0; i < runs.length; i += 2) {
    if (runs[i] < 0 || runs[i] >= numActions || runs[i + 1] < 1) return null;
    length += runs[i + 1];
  }
  if (length > MAX_LIST) return null;
  const actions = new Int32Array(length);
  for (let i = 0, end = 0; i < runs.length; i += 2) actions.fill(runs[i], end, (end += runs[i + 1]));
  return actions;
}
