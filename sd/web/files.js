/** Fetches the files of the page for the worker, and reports how far it is. */

export class Files {
  /**
   * @param {import("./model.js").Site} site
   * @param {(progress: {received: number, total: number}) => void} onProgress bytes
   */
  constructor(site, onProgress) {
    this.site = site;
    this.onProgress = onProgress;
    this.progress = { received: 0, total: 0 };
  }

  /**
   * Begins to count anew.
   * @param {string[]} names of the files that will be fetched
   */
  expect(names) {
    this.progress = { received: 0, total: names.reduce((sum, name) => sum + this.site.files[name], 0) };
  }

  /** @param {string} name of a file in the page's folder; the version keeps caches of older exports out */
  url(name) {
    return new URL(`${name}?v=${this.site.version}`, self.location.href).href;
  }

  /**
   * @param {string} name
   * @returns {Promise<Uint8Array>}
   */
  async fetch(name) {
    const size = this.site.files[name];
    const response = await fetch(this.url(name));
    if (!response.ok) throw new Error(`${name}: the server answers ${response.status}`);
    const content = new Uint8Array(size);
    const reader = response.body.getReader();
    let received = 0;
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      content.set(part.value.subarray(0, size - received), received);
      received += part.value.length;
      if (received > size) break;
      this.progress.received += part.value.length;
      this.onProgress(this.progress);
    }
    if (received < size) throw new Error(`${name} is incomplete`);
    if (received === size) return content;
    // A host that decompresses .gz files on the way sends more than the file holds: read it again, whole.
    await reader.cancel();
    return new Uint8Array(await (await fetch(this.url(name))).arrayBuffer());
  }

  /**
   * Fetches a compressed file, which some hosts decompress on the way.
   * @param {string} name
   * @returns {Promise<ArrayBuffer>}
   */
  async fetchCompressed(name) {
    const content = await this.fetch(name);
    if (content[0] !== 0x1f || content[1] !== 0x8b) return content.buffer;
    return new Response(new Blob([content]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  }
}
