// Registers the service worker that keeps the page for visits without a network (sw.js), and lets a new version take over.

/** Called once the page has nothing more urgent to fetch. */
export async function keepForOffline() {
  if (!("serviceWorker" in navigator)) return;
  try {
    await navigator.serviceWorker.register("sw.js", { updateViaCache: "none" });
  } catch {
    // Private windows, file: addresses, a host without sw.js: the page works, with a network.
  }
}

/** Before anything else is loaded: a newer version that waits is used from the start. */
export async function useNewest() {
  const registration = await navigator.serviceWorker?.getRegistration().catch(() => undefined);
  if (!registration?.waiting || !navigator.serviceWorker.controller) return;
  navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
  registration.waiting.postMessage("take over");
}
