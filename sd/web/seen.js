/** The panel that shows what the model sees: the context, the predicted flow, and what the denoiser adds. */

const MAX_FRAMES = 4; // of the context that are shown
const SHARPNESS = 2; // pixels of the picture of the flow per pixel of the frame, for the arrows
const ARROW_EVERY = 28; // pixels of the frame
const FULL_COLOR_PX = 16; // length of the flow, in pixels of the frame, that has the full colour
const RESIDUAL_GAIN = 96; // levels of colour per unit of a latent channel

/**
 * A colour for a motion: the hue is its direction, the brightness its length.
 * @param {number} x to the right, pixels
 * @param {number} y downwards
 * @returns {[number, number, number]} 0-255
 */
export function motionColor(x, y) {
  const value = Math.min(1, Math.hypot(x, y) / FULL_COLOR_PX);
  const hue = Math.atan2(y, x) / (2 * Math.PI) + 1;
  const channel = (offset) => Math.min(1, Math.max(0, Math.abs(((hue + offset) % 1) * 6 - 3) - 1));
  return [0, 2 / 3, 1 / 3].map((offset) => value * (40 + 190 * channel(offset)));
}

export class SeenPanel {
  /**
   * @param {HTMLElement} element
   * @param {import("./model.js").Site} site
   */
  constructor(element, site) {
    this.element = element;
    [this.height, this.width] = site.frame_shape;
    [, this.latentHeight, this.latentWidth] = site.latent_shape;
    const count = Math.min(MAX_FRAMES, site.context);
    this.frames = Array.from({ length: count }, (_, i) => {
      const back = count - i;
      return this.#figure(back === 1 ? "the last frame" : `${back} frames ago`, "frame");
    });
    this.flow = this.#figure("motion that it predicts");
    this.warped = this.#figure("the last frame, moved so");
    this.residual = this.#figure("what the denoiser adds");
    this.flow.width *= SHARPNESS;
    this.flow.height *= SHARPNESS;
    element.style.setProperty("--tiles", String(count + 3));
    this.small = new OffscreenCanvas(this.latentWidth, this.latentHeight);
  }

  /**
   * @param {string} caption
   * @param {string} [className]
   */
  #figure(caption, className = "") {
    const figure = Object.assign(document.createElement("figure"), { className });
    const canvas = Object.assign(document.createElement("canvas"), { width: this.width, height: this.height });
    const text = document.createElement("figcaption");
    text.textContent = caption;
    figure.append(canvas, text);
    this.element.append(figure);
    return canvas;
  }

  /**
   * Draws the panel.
   * @param {Uint8ClampedArray[]} frames those before the frame that is shown, oldest first
   * @param {Record<string, Float32Array>} seen outputs of the graph: flow, warped, residual
   */
  draw(frames, seen) {
    const last = frames.slice(-this.frames.length);
    this.frames.forEach((canvas, i) => {
      const rgba = last[i - this.frames.length + last.length];
      this.#show(canvas, rgba);
    });
    const hasFlow = Boolean(seen.flow);
    for (const canvas of [this.flow, this.warped]) {
      canvas.parentElement.hidden = !hasFlow && Boolean(seen.residual);
    }
    this.#drawSmall(this.residual, seen.residual, (at, size) => {
      // of a model with fewer channels the last one is repeated
      return [0, 1, 2].map(
        (c) => 128 + RESIDUAL_GAIN * seen.residual[Math.min(c * size + at, seen.residual.length - 1)],
      );
    });
    this.#drawSmall(this.flow, seen.flow, (at, size) => motionColor(-seen.flow[at], -seen.flow[size + at]));
    if (hasFlow) this.#drawArrows(seen.flow);
    if (seen.warped) {
      const size = this.width * this.height;
      const rgba = new Uint8ClampedArray(4 * size).fill(255);
      for (let i = 0; i < size; i++) {
        for (let c = 0; c < 3; c++) rgba[4 * i + c] = 255 * seen.warped[c * size + i];
      }
      this.#show(this.warped, rgba);
    } else this.#show(this.warped, null);
  }

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Uint8ClampedArray | null | undefined} rgba
   */
  #show(canvas, rgba) {
    const context = canvas.getContext("2d");
    if (rgba) context.putImageData(new ImageData(rgba, this.width, this.height), 0, 0);
    else context.clearRect(0, 0, this.width, this.height);
  }

  /**
   * Draws an array at the latent's resolution.
   * @param {HTMLCanvasElement} canvas
   * @param {Float32Array | undefined} values nothing is drawn without them
   * @param {(at: number, size: number) => number[]} color of a latent pixel
   */
  #drawSmall(canvas, values, color) {
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!values) return;
    const size = this.latentWidth * this.latentHeight;
    const image = new ImageData(this.latentWidth, this.latentHeight);
    for (let i = 0; i < size; i++) image.data.set([...color(i, size), 255], 4 * i);
    this.small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    // 4 x 4 pixels of the frame each; the latent may be larger than the frame, which is padded
    const scale = (4 * canvas.width) / this.width;
    context.drawImage(this.small, 0, 0, scale * this.latentWidth, scale * this.latentHeight);
  }

  /** @param {Float32Array} flow (2, h, w): from each pixel to its place in the last frame */
  #drawArrows(flow) {
    const context = this.flow.getContext("2d");
    const size = this.latentWidth * this.latentHeight;
    context.strokeStyle = context.fillStyle = "rgb(240 237 228)";
    context.lineWidth = 1.5;
    for (let y = ARROW_EVERY / 2; y < this.height; y += ARROW_EVERY) {
      for (let x = ARROW_EVERY / 2; x < this.width; x += ARROW_EVERY) {
        const at = (y >> 2) * this.latentWidth + (x >> 2);
        const length = Math.hypot(flow[at], flow[size + at]);
        if (length < 0.5) continue;
        const shown = Math.min(2.5, (0.85 * ARROW_EVERY) / length); // 2.5 times as long, but not into the next one
        context.save();
        context.scale(SHARPNESS, SHARPNESS);
        context.translate(x, y);
        context.rotate(Math.atan2(-flow[size + at], -flow[at]));
        const tip = length * shown;
        context.beginPath();
        context.moveTo(0, 0);
        context.lineTo(tip, 0);
        context.stroke();
        context.beginPath();
        context.moveTo(tip + 3, 0);
        context.lineTo(tip - 3, -3.5);
        context.lineTo(tip - 3, 3.5);
        context.fill();
        context.restore();
      }
    }
  }
}
