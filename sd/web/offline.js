/** The service worker: keeps the page for use without a network, and allows threads on hosts that set no headers. */

const RELOADED = "reloaded for threads"; // a mark, so that the page is reloaded once at most

/**
 * Where the host does not send the headers that threads need, the service worker adds them, and the page is loaded
 * again through it. Does nothing where that is not needed, has been tried or is not possible: it plays on one thread.
 */
export async function isolate() {
  if (self.crossOriginIsolated) return;
  try {
    // Where a user has blocked the data of sites, even to look at these two may be an error.
    if (!navigator.serviceWorker || sessionStorage.getItem(RELOADED)) return;
    await navigator.serviceWorker.register("service_worker.js");
    await navigator.serviceWorker.ready;
    sessionStorage.setItem(RELOADED, "1");
  } catch {
    return;
  }
  location.reload();
  await new Promise(() => {}); // nothing else happens before that
}

/**
 * Keeps all files of the page that this browser needs.
 * @param {import("./model.js").Site} site
 * @param {string[]} ownFiles names of those that the model needs here; those of other backends are not kept
 * @returns {Promise<boolean>} whether the page now works without a network
 */
export async function keepForOffline(site, ownFiles) {
  try {
    if (!navigator.serviceWorker) return false;
    await navigator.serviceWorker.register("service_worker.js");
    const { active } = await navigator.serviceWorker.ready;
    const isVersioned = (name) => /^(model|runtime)\//.test(name);
    const needed = new Set([...ownFiles, "model/starts.bin", "model/list.bin"]);
    const isNeeded = (name) => (isVersioned(name) ? needed.has(name) : name !== "service_worker.js");
    const names = Object.keys(site.files).filter(isNeeded);
    const urls = ["./", ...names.map((name) => (isVersioned(name) ? `${name}?v=${site.version}` : name))];
    return await new Promise((resolve) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = ({ data }) => resolve(data);
      const keep = urls.map((url) => new URL(url, document.baseURI).href);
      active.postMessage({ version: site.version, keep }, [port2]);
    });
  } catch {
    return false; // private windows have no service workers
  }
}
