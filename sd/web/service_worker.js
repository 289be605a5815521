/**
 * Answers the page's requests from the network, and without one from the cache; files that belong to a version (?v=)
 * never change and come from the cache first. Adds the headers that threads need.
 */

const CACHE = "dream";
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

/**
 * The response with HEADERS.
 * @param {Response} response
 */
function withHeaders(response) {
  if (response.status === 0) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

/** @param {Request} request */
async function answer(request) {
  const cache = await caches.open(CACHE);
  const isVersioned = new URL(request.url).searchParams.has("v");
  const kept = isVersioned ? await cache.match(request.url) : undefined;
  if (kept) return withHeaders(kept);
  try {
    return withHeaders(await fetch(request));
  } catch (problem) {
    const old = await cache.match(request.url, { ignoreSearch: !isVersioned });
    if (old) return withHeaders(old);
    throw problem;
  }
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method === "GET" && new URL(request.url).origin === self.location.origin) {
    event.respondWith(answer(request));
  }
});

/**
 * Fetches what is not in the cache yet, and removes what no longer belongs to the page.
 * @param {string[]} urls
 */
async function keep(urls) {
  const cache = await caches.open(CACHE);
  for (const url of urls) {
    const isVersioned = new URL(url).searchParams.has("v");
    if (!(isVersioned && (await cache.match(url)))) await cache.add(url);
  }
  for (const { url } of await cache.keys()) {
    if (!urls.includes(url)) await cache.delete(url);
  }
}

self.addEventListener("message", (event) => {
  const [port] = event.ports;
  event.waitUntil(
    keep(event.data.keep).then(
      () => port.postMessage(true),
      () => port.postMessage(false),
    ),
  );
});
