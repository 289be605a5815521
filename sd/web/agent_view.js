/** The agent's observation, as sd/dream/common/agent_view.py makes it: the last frames, small and grey. */

export const STACK = 4; // frames of an observation
export const OBS_SIZE = 84; // height and width of a view, pixels

/** @typedef {{first: number, weights: number[]}} Cell the pixels that a target pixel covers, from `first` on */

/**
 * Weights of area averaging from `size` pixels to OBS_SIZE.
 * @param {number} size
 * @returns {Cell[]}
 */
function areaWeights(size) {
  return Array.from({ length: OBS_SIZE }, (_, target) => {
    const begin = (target * size) / OBS_SIZE;
    const end = ((target + 1) * size) / OBS_SIZE;
    const first = Math.floor(begin);
    const weights = [];
    for (let i = first; i < Math.min(size, Math.ceil(end)); i++) {
      weights.push((Math.min(end, i + 1) - Math.max(begin, i)) / (end - begin));
    }
    return { first, weights };
  });
}

export class AgentView {
  /**
   * @param {number} width of the frames, pixels
   * @param {number} height
   */
  constructor(width, height) {
    this.width = width;
    this.rows = areaWeights(height);
    this.columns = areaWeights(width);
    this.narrow = new Float32Array(height * OBS_SIZE);
  }

  /**
   * A frame as grey OBS_SIZE x OBS_SIZE pixels; each is the mean of the area that it covers.
   * @param {Uint8ClampedArray} rgba
   * @returns {Uint8Array}
   */
  preprocess(rgba) {
    const { width, rows, columns, narrow } = this;
    for (let y = 0; y < narrow.length / OBS_SIZE; y++) {
      columns.forEach(({ first, weights }, x) => {
        let sum = 0;
        weights.forEach((weight, i) => {
          const at = 4 * (y * width + first + i);
          sum += weight * (0.299 * rgba[at] + 0.587 * rgba[at + 1] + 0.114 * rgba[at + 2]);
        });
        narrow[y * OBS_SIZE + x] = sum;
      });
    }
    const view = new Uint8Array(OBS_SIZE * OBS_SIZE);
    rows.forEach(({ first, weights }, y) => {
      for (let x = 0; x < OBS_SIZE; x++) {
        let sum = 0;
        weights.forEach((weight, i) => (sum += weight * narrow[(first + i) * OBS_SIZE + x]));
        view[y * OBS_SIZE + x] = Math.round(sum);
      }
    });
    return view;
  }

  /**
   * The observation, uint8 (STACK, OBS_SIZE, OBS_SIZE): the last frames, oldest first; the first is repeated.
   * @param {Uint8ClampedArray[]} frames at least one
   * @returns {Uint8Array}
   */
  observe(frames) {
    const last = frames.slice(-STACK);
    while (last.length < STACK) last.unshift(last[0]);
    const views = new Uint8Array(STACK * OBS_SIZE * OBS_SIZE);
    const made = new Map();
    last.forEach((frame, i) => {
      if (!made.has(frame)) made.set(frame, this.preprocess(frame));
      views.set(made.get(frame), i * OBS_SIZE * OBS_SIZE);
    });
    return views;
  }
}
