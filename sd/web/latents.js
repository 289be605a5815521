/**
 * The latents of a drive, by the number of their frame: what the next frame is predicted from, and what rewinding needs.
 *
 * On WebGPU they are tensors on the GPU, and nothing reads them back: after a rewind the next frame is predicted from
 * the older ones, which are still there, and takes the number, and so the place, of the one that was taken back. Those
 * that are older than the history are disposed of, so that their number is bounded.
 */

export class Latents {
  /** @param {number} context L, latents that the next one is predicted from */
  constructor(context) {
    this.context = context;
    /** @type {Map<number, any>} tensors (1, C, h, w); the start state's have the numbers 1 - L to 0 */
    this.tensors = new Map();
    /** @type {{number: number, tensor: any} | null} (1, 3, H, W), about 0-1: the last latent decoded */
    this.frame = null;
  }

  /**
   * Begins a drive.
   * @param {any[]} tensors L latents, oldest first
   */
  restart(tensors) {
    for (const number of [...this.tensors.keys()]) this.#remove(number);
    this.setFrame(0, null);
    tensors.forEach((tensor, i) => this.tensors.set(i + 1 - tensors.length, tensor));
  }

  /**
   * The latents before a frame, oldest first.
   * @param {number} number
   */
  before(number) {
    const tensors = Array.from({ length: this.context }, (_, i) => this.tensors.get(number - this.context + i));
    if (tensors.some((tensor) => !tensor)) throw new Error(`the latents before frame ${number} are not there`);
    return tensors;
  }

  /**
   * The decoded latent of a frame, if it is the last one that was set.
   * @param {number} number
   */
  decoded(number) {
    return this.frame?.number === number ? this.frame.tensor : null;
  }

  /**
   * @param {number} number
   * @param {any} tensor (1, 3, H, W), or null
   */
  setFrame(number, tensor) {
    this.frame?.tensor.dispose();
    this.frame = tensor && { number, tensor };
  }

  /**
   * Adds the latent of a new frame, and removes those after it and those that are not needed any more.
   * @param {number} number
   * @param {any} tensor
   * @param {number} oldest number of the oldest frame that a rewind can lead to
   */
  add(number, tensor, oldest) {
    for (const other of [...this.tensors.keys()]) {
      if (other >= number || other <= oldest - this.context) this.#remove(other);
    }
    this.tensors.set(number, tensor);
  }

  /** @param {number} number */
  #remove(number) {
    this.tensors.get(number).dispose();
    this.tensors.delete(number);
  }
}
