// wgpu's web backend cannot ask for subgroups yet, although browsers have them. This wraps `requestDevice` to add the
// feature where the adapter has it, and tells the engine so through `globalThis.triceSubgroups`.

const adapter = /** @type {any} */ (globalThis).GPUAdapter;

if (adapter) {
  const requestDevice = adapter.prototype.requestDevice;

  /** @this {any} @param {any} [descriptor] */
  adapter.prototype.requestDevice = async function (descriptor = {}) {
    if (!this.features.has("subgroups")) return requestDevice.call(this, descriptor);
    const requiredFeatures = new Set([...(descriptor.requiredFeatures ?? []), "subgroups"]);
    const device = await requestDevice.call(this, { ...descriptor, requiredFeatures: [...requiredFeatures] });
    /** @type {any} */ (globalThis).triceSubgroups = true;
    return device;
  };
}

export {};
