/** Noise that depends on a seed and the frame's number alone: after a rewind the same keys give the same frames. */

/**
 * A generator of numbers that are uniform in 0-1 (Mulberry32), from two whole numbers.
 * @param {number} seed
 * @param {number} stream
 * @returns {() => number}
 */
export function uniform(seed, stream) {
  let state = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(stream + 1, 0xc2b2ae35)) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Samples of N(0, 1) (Box and Muller).
 * @param {number} seed
 * @param {number} stream
 * @param {number} count
 * @returns {Float32Array}
 */
export function normal(seed, stream, count) {
  const random = uniform(seed, stream);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    const angle = 2 * Math.PI * random();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < count) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}

/**
 * The index of a sample of softmax(logits).
 * @param {Float32Array} logits
 * @param {number} seed
 * @param {number} stream
 * @returns {number}
 */
export function sampleCategorical(logits, seed, stream) {
  const random = uniform(seed, stream);
  let best = 0;
  let highest = -Infinity;
  logits.forEach((logit, i) => {
    const value = logit - Math.log(-Math.log(1 - random() * (1 - 2 ** -24)) || 1e-30); // Gumbel noise
    if (value > highest) [best, highest] = [i, value];
  });
  return best;
}
