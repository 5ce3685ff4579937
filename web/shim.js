// What wgpu's web backend cannot do yet. It cannot ask for subgroups, although browsers have them: `requestDevice` is
// wrapped to add the feature where the adapter has it, and `globalThis.triceSubgroups` tells the engine so. It drops the
// adapter's vendor and architecture: `globalThis.triceAdapterName` keeps them.

const scope = /** @type {any} */ (globalThis);

if (scope.GPUAdapter) {
  const { requestDevice } = scope.GPUAdapter.prototype;

  /** @this {any} @param {any} [descriptor] */
  scope.GPUAdapter.prototype.requestDevice = async function (descriptor = {}) {
    if (!this.features.has("subgroups")) return requestDevice.call(this, descriptor);
    const requiredFeatures = new Set([...(descriptor.requiredFeatures ?? []), "subgroups"]);
    const device = await requestDevice.call(this, { ...descriptor, requiredFeatures: [...requiredFeatures] });
    scope.triceSubgroups = true;
    return device;
  };

  const { requestAdapter } = scope.GPU.prototype;

  /** @this {any} @param {any} [options] */
  scope.GPU.prototype.requestAdapter = async function (options) {
    const adapter = await requestAdapter.call(this, options);
    const { vendor, architecture, description } = adapter?.info ?? {};
    scope.triceAdapterName = description || [vendor, architecture].filter(Boolean).join(" ");
    return adapter;
  };
}

export {};
