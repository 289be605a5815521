/**
 * The choice of what runs the model: the fastest variant that works here.
 *
 * The first variant on the GPU that keeps the game's pace is taken. One that does not is timed against WebAssembly, and
 * stays open meanwhile: WebAssembly may be even slower, or fail.
 */

/** @typedef {import("./backend.js").Variant} Variant */
/** @typedef {import("./backend.js").Gpu} Gpu */

/**
 * The variants to try, in this order.
 * @param {Variant[]} variants the fastest first
 * @param {string | null} wanted how the name of a variant begins; null: those that are fast here
 * @param {Gpu | null} gpu
 * @param {(variant: Variant) => boolean} exists whether the page has its graphs
 */
export function candidates(variants, wanted, gpu, exists) {
  return variants.filter((variant) => {
    if (wanted && !variant.name.startsWith(wanted)) return false;
    if (variant.backend === "wasm") return true;
    if (!gpu || !(gpu.isReal || wanted)) return false;
    return variant.bits === 32 || (gpu.hasHalf && exists(variant));
  });
}

/**
 * @template Opened
 * @typedef {object} Trial how a variant is tried; the first two may fail
 * @property {(variant: Variant) => Promise<Opened>} open after an error nothing of it is left open
 * @property {(opened: Opened) => Promise<number>} measure the median time of its frames, ms
 * @property {(opened: Opened) => Promise<void>} close it does not fail
 */

/**
 * Opens the variant that is to be used; all others are closed.
 * @template Opened
 * @param {Variant[]} variants at least one; of `candidates`
 * @param {number} frameMs time of a frame at the game's pace
 * @param {boolean} isTimed false: the first one that works is taken, however slow it is
 * @param {Trial<Opened>} trial
 * @returns {Promise<Opened>}
 */
export async function chooseBackend(variants, frameMs, isTimed, trial) {
  /** @type {{opened: Opened, medianMs: number} | null} on the GPU */
  let slow = null;
  let problem = null;
  for (const variant of variants) {
    const isGpu = variant.backend === "webgpu";
    if (slow && isGpu) continue; // with more bits the same GPU is slower still
    let opened = null;
    try {
      opened = await trial.open(variant);
      // Without a slow GPU there is nothing to compare WebAssembly with.
      if (!isTimed || !(isGpu || slow)) return opened;
      const medianMs = await trial.measure(opened);
      if (!slow && medianMs < frameMs) return opened;
      if (!slow) {
        slow = { opened, medianMs };
      } else if (medianMs < slow.medianMs) {
        await trial.close(slow.opened);
        return opened;
      } else {
        await trial.close(opened);
      }
    } catch (each) {
      problem = each;
      if (opened) await trial.close(opened);
    }
  }
  if (slow) return slow.opened;
  throw problem;
}
