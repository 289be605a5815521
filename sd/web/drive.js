/**
 * A drive, as in sd/dream/play/drive.py: for how long the picture has moved under a person, measured on the frames.
 */

const STANDING_S = 2; // so long must the picture stand while keys are held
const STANDING_FRACTION = 0.15; // of the fastest second so far
const COMPARED_SIZE = 100; // rows or columns of a frame that are compared, or up to twice as many
const KEPT_S = 10; // steps that are kept

/**
 * @typedef {object} Step
 * @property {number} change mean absolute difference to the frame before, in levels (0-255)
 * @property {boolean} isDriven whether a person held keys of an action
 * @property {boolean} counts whether it made the drive longer
 */

export class Drive {
  /** @param {number} fps */
  constructor(fps) {
    this.fps = fps;
    this.topChange = this.bestS = 0;
    this.restart();
  }

  /** Begins a new drive. */
  restart() {
    /** @type {Step[]} */
    this.steps = [];
    this.numMoving = 0;
    this.hasStood = false;
  }

  /** For how long the picture has moved under a person since the restart, or since it last stood. */
  get seconds() {
    return this.numMoving / this.fps;
  }

  /**
   * Adds a step from one frame to the next.
   * @param {Uint8ClampedArray} before (H, W, 4)
   * @param {Uint8ClampedArray} after
   * @param {boolean} isPerson
   * @param {boolean} isNoop whether its action holds no key
   */
  add(before, after, isPerson, isNoop) {
    const change = meanChange(before, after);
    const isMoving = change > STANDING_FRACTION * this.topChange;
    const step = { change, isDriven: isPerson && !isNoop, counts: isPerson && isMoving };
    this.steps.push(step);
    if (this.steps.length > KEPT_S * this.fps) this.steps.shift();
    const second = Math.max(2, Math.round(this.fps));
    // The median: a flash of the whole screen is no speed.
    if (this.steps.length >= second) this.topChange = Math.max(this.topChange, this.#medianChange(second));
    if (this.#isStanding()) {
      this.hasStood = true;
    } else if (isMoving && this.hasStood) {
      this.numMoving = 0;
      this.hasStood = false;
    }
    if (step.counts && !this.hasStood) this.numMoving++;
    this.bestS = Math.max(this.bestS, this.seconds);
  }

  /** Takes the last step back, after a rewind. */
  pop() {
    const counts = this.steps.pop()?.counts ?? true;
    this.numMoving = Math.max(0, this.numMoving - Number(counts));
    this.hasStood = false;
  }

  /** Whether a person has held keys for STANDING_S, and the picture hardly changes. */
  #isStanding() {
    const length = Math.max(2, Math.round(STANDING_S * this.fps));
    if (this.steps.length < length) return false;
    const isStill = this.#medianChange(length) <= STANDING_FRACTION * this.topChange;
    return isStill && this.steps.slice(-length).every(({ isDriven }) => isDriven);
  }

  /** @param {number} length in steps */
  #medianChange(length) {
    const sorted = this.steps.slice(-length).map(({ change }) => change);
    sorted.sort((a, b) => a - b);
    return (sorted[(length - 1) >> 1] + sorted[length >> 1]) / 2;
  }
}

/**
 * Mean absolute difference of two frames (H, W, 4); of large ones a part is enough.
 * @param {Uint8ClampedArray} before
 * @param {Uint8ClampedArray} after
 */
function meanChange(before, after) {
  // Of a square frame; an odd stride, so that the pixels are not all of some columns.
  const stride = 4 * ((Math.max(1, Math.floor(Math.sqrt(after.length / 4) / COMPARED_SIZE)) ** 2) | 1);
  let sum = 0;
  let count = 0;
  for (let i = 0; i < after.length; i += stride) {
    for (let c = i; c < i + 3; c++) sum += Math.abs(after[c] - before[c]);
    count += 3;
  }
  return sum / count;
}
