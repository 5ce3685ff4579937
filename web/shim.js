// What wgpu's web backend cannot do yet. It cannot ask for subgroups, although browsers have them: `requestDevice` is
// wrapped to add the feature where the adapter has it. It drops the adapter's vendor and architecture. What the engine
// must know of both stands in `globalThis.triceSubgroups` and `globalThis.triceAdapterName`; `triceDevice` is for tests, which
// take it away. And it cannot compile shaders beside each other: `createComputePipeline` leaves a promise of the pipeline in
// `globalThis.tricePipeline` and gives nothing, until the engine has put the pipeline itself there (src/gpu/compiler/browser.rs).

const scope = /** @type {any} */ (globalThis);

if (scope.GPUAdapter) {
  const { requestDevice } = scope.GPUAdapter.prototype;

  /** @this {any} @param {any} [descriptor] */
  scope.GPUAdapter.prototype.requestDevice = async function (descriptor = {}) {
    const subgroups = this.features.has("subgroups") ? ["subgroups"] : [];
    const requiredFeatures = new Set([...(descriptor.requiredFeatures ?? []), ...subgroups]);
    scope.triceDevice = await requestDevice.call(this, { ...descriptor, requiredFeatures: [...requiredFeatures] });
    return scope.triceDevice;
  };

  /** @this {any} @param {any} descriptor */
  scope.GPUDevice.prototype.createComputePipeline = function (descriptor) {
    const { tricePipeline: compiled } = scope;
    scope.tricePipeline = compiled ? undefined : this.createComputePipelineAsync(descriptor);
    return compiled;
  };

  const { requestAdapter } = scope.GPU.prototype;

  /** @this {any} @param {any} [options] */
  scope.GPU.prototype.requestAdapter = async function (options) {
    const adapter = await requestAdapter.call(this, options);
    const { vendor, architecture, description } = adapter?.info ?? {};
    scope.triceAdapterName = description || [vendor, architecture].filter(Boolean).join(" ");
    scope.triceSubgroups = adapter?.features.has("subgroups") ?? false;
    return adapter;
  };
}

export {};
