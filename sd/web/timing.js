/** The game's pace and the times of its frames. */

const RECENT = 60; // frames whose times are kept

/** Says when a frame is due. A frame that is late does not make the next ones hurry. */
export class FrameLimiter {
  /** @param {number} fps */
  constructor(fps) {
    this.period = 1000 / fps;
    this.due = 0;
  }

  /** Waits until the next frame is due; in a hidden tab, until it is visible. */
  async wait() {
    do {
      const left = this.due - performance.now();
      // A little early: a timer or a repaint may be late by some milliseconds.
      if (left <= 1 && !document.hidden) break;
      await (left > 20 && !document.hidden
        ? new Promise((resolve) => setTimeout(resolve, left - 18))
        : new Promise(requestAnimationFrame));
    } while (true);
    const now = performance.now();
    this.due = now - this.due > this.period ? now + this.period : this.due + this.period;
  }
}

/** Times of the last frames. */
export class FrameTimes {
  constructor() {
    this.reset();
  }

  /** Forgets the rate: after a pause it would be wrong. */
  reset() {
    this.ends = [];
    this.durations = [];
  }

  /** @param {number} duration of a frame that ends now, ms */
  add(duration) {
    this.ends.push(performance.now());
    this.durations.push(duration);
    if (this.ends.length > RECENT) {
      this.ends.shift();
      this.durations.shift();
    }
  }

  /** Frames per second; null if there are too few. */
  fps() {
    const n = this.ends.length;
    return n < 5 ? null : (1000 * (n - 1)) / (this.ends[n - 1] - this.ends[0]);
  }

  /** @param {number} fraction 0.5: median, ms */
  quantile(fraction) {
    const sorted = [...this.durations].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(fraction * sorted.length))] ?? 0;
  }
}
