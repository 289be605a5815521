/**
 * Answers the page's requests from the network, and without one from the cache; files that belong to a version (?v=)
 * never change and come from the cache first. Adds the headers that threads need.
 *
 * Each version of the page has a cache of its own, named after the place of the page too, because other pages of the
 * same host share the storage. Its site.json is written last: a cache that has it is complete.
 */

const PREFIX = `dream ${self.registration.scope} `; // of the names of this page's caches; the version follows
const MARK = new URL("site.json", self.registration.scope).href;
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

/** @param {string} url whether it is that of a file of one version */
const isVersioned = (url) => new URL(url).searchParams.has("v");

/**
 * The response with HEADERS and others.
 * @param {Response} response
 * @param {Record<string, string>} [others]
 */
function withHeaders(response, others = {}) {
  if (response.status === 0) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries({ ...HEADERS, ...others })) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

/** Names of this page's caches, oldest first. */
async function ownCaches() {
  return (await caches.keys()).filter((name) => name.startsWith(PREFIX));
}

/** The newest complete cache; undefined: there is none. */
async function completeCache() {
  for (const name of (await ownCaches()).reverse()) {
    const cache = await caches.open(name);
    if (await cache.match(MARK)) return cache;
  }
}

/**
 * A file of one version: from any cache of this page, then from the network.
 * @param {Request} request
 */
async function answerVersioned(request) {
  for (const name of await ownCaches()) {
    const kept = await (await caches.open(name)).match(request.url);
    if (kept) return withHeaders(kept);
  }
  return withHeaders(await fetch(request));
}

/**
 * Any other file: from the network, and without one from the newest complete cache.
 * @param {Request} request
 */
async function answer(request) {
  // Without no-cache the browser could mix new modules with old ones that the host lets it keep for long. The header is
  // for what the browser keeps in memory, between the page and this worker.
  const noCache = { "Cache-Control": "no-cache" };
  try {
    return withHeaders(await fetch(request, { cache: "no-cache" }), noCache);
  } catch (problem) {
    const old = await (await completeCache())?.match(request.url, { ignoreSearch: true });
    if (old) return withHeaders(old, noCache);
    throw problem;
  }
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method === "GET" && new URL(request.url).origin === self.location.origin) {
    event.respondWith(isVersioned(request.url) ? answerVersioned(request) : answer(request));
  }
});

/**
 * Fetches what the cache of a version lacks; when that is complete, removes the older ones, and the files of a backend
 * that the browser used before.
 * @param {string} version
 * @param {string[]} urls
 */
async function keep(version, urls) {
  const name = PREFIX + version;
  const cache = await caches.open(name);
  for (const url of urls) {
    if (await cache.match(url)) continue;
    await cache.add(isVersioned(url) ? url : new Request(url, { cache: "no-cache" }));
  }
  if (!(await cache.match(MARK))) {
    const response = await fetch(MARK, { cache: "no-cache" });
    if ((await response.clone().json()).version !== version) throw new Error("exported anew meanwhile");
    await cache.put(MARK, response);
  }
  for (const { url } of await cache.keys()) {
    if (url !== MARK && !urls.includes(url)) await cache.delete(url);
  }
  for (const other of await ownCaches()) {
    if (other !== name) await caches.delete(other);
  }
}

self.addEventListener("message", (event) => {
  const [port] = event.ports;
  event.waitUntil(
    keep(event.data.version, event.data.keep).then(
      () => port.postMessage(true),
      () => port.postMessage(false),
    ),
  );
});
