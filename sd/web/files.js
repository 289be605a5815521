/** Fetches the files of the page for the worker, each once, and reports how far it is. */

export class Files {
  /**
   * @param {import("./model.js").Site} site
   * @param {(progress: {received: number, total: number}) => void} onProgress bytes
   */
  constructor(site, onProgress) {
    this.site = site;
    this.onProgress = onProgress;
    this.progress = { received: 0, total: 0 };
    /** @type {Map<string, Promise<Uint8Array>>} by name; variants share the weights, and others what one has fetched */
    this.contents = new Map();
  }

  /**
   * Begins to count anew.
   * @param {string[]} names of the files that are needed; those that are there already count as received
   */
  expect(names) {
    const bytes = (some) => some.reduce((sum, name) => sum + (this.site.files[name] ?? 0), 0);
    this.progress = { received: bytes(names.filter((name) => this.contents.has(name))), total: bytes(names) };
  }

  /** Frees the memory of the files; what is fetched later is fetched again. */
  forget() {
    this.contents.clear();
  }

  /** @param {string} name of a file in the page's folder; the version keeps caches of older exports out */
  url(name) {
    return new URL(`${name}?v=${this.site.version}`, self.location.href).href;
  }

  /**
   * A file's content, which is not to be changed. An error names the file.
   * @param {string} name
   * @returns {Promise<Uint8Array>}
   */
  async fetch(name) {
    if (!this.contents.has(name)) this.contents.set(name, this.#fetch(name));
    try {
      return await this.contents.get(name);
    } catch (problem) {
      this.contents.delete(name);
      throw problem;
    }
  }

  /** @param {string} name */
  async #fetch(name) {
    const size = this.site.files[name];
    if (size === undefined) throw new Error(`${name} is not a file of this page`);
    const response = await this.#request(name);
    const content = new Uint8Array(size);
    const reader = response.body.getReader();
    let received = 0;
    const read = () => named(name, reader.read());
    for (let part = await read(); !part.done; part = await read()) {
      content.set(part.value.subarray(0, size - received), received);
      received += part.value.length;
      if (received > size) break;
      this.progress.received += part.value.length;
      this.onProgress(this.progress);
    }
    if (received < size) throw new Error(`${name} is incomplete`);
    if (received === size) return content;
    await reader.cancel();
    if (!name.endsWith(".gz")) throw new Error(`${name} is longer than that of this page: export the page again`);
    // A host that decompresses .gz files on the way sends more than the file holds: read it again, whole.
    return new Uint8Array(await named(name, (await this.#request(name)).arrayBuffer()));
  }

  /** @param {string} name */
  async #request(name) {
    const response = await named(name, fetch(this.url(name)));
    if (!response.ok) throw new Error(`${name}: the server answers ${response.status}`);
    return response;
  }

  /**
   * Fetches a compressed file, which some hosts decompress on the way.
   * @param {string} name
   * @returns {Promise<ArrayBuffer>}
   */
  async fetchCompressed(name) {
    const content = await this.fetch(name);
    if (content[0] !== 0x1f || content[1] !== 0x8b) return content.buffer;
    const stream = new Blob([content]).stream().pipeThrough(new DecompressionStream("gzip"));
    return named(name, new Response(stream).arrayBuffer());
  }

  /**
   * Loads a module.
   * @param {string} name
   */
  import(name) {
    return named(name, import(this.url(name)));
  }
}

/**
 * A promise whose error names a file: that of a network only says that it failed.
 * @template T
 * @param {string} name
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
async function named(name, promise) {
  try {
    return await promise;
  } catch (problem) {
    throw new Error(`${name} cannot be loaded (${problem?.message ?? problem})`);
  }
}
