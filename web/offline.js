// Registers the service worker that keeps the page for visits without a network (sw.js).

/** Called once the page has nothing more urgent to fetch. */
export async function keepForOffline() {
  try {
    await navigator.serviceWorker?.register("sw.js", { updateViaCache: "none" });
  } catch {
    // Private windows, file: addresses, a host without sw.js: the page works, with a network.
  }
}
