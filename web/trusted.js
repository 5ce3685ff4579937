// The page's content policy lets no text become HTML or a script (trusted types), whoever tries. What may run beside the page are
// scripts of its own folder, as workers.

const trustedTypes = /** @type {any} */ (globalThis).trustedTypes;

trustedTypes?.createPolicy("default", {
  /** @param {string} address */
  createScriptURL(address) {
    const { origin, pathname } = new URL(address, document.baseURI);
    const own = new URL(".", document.baseURI);
    return origin === own.origin && pathname.startsWith(own.pathname) ? address : null;
  },
});
