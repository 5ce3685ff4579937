// How often the wasm module calls JavaScript, by name: each call costs, and a decode step makes several per dispatch. Must be
// asked for before the module loads; costs a little itself, so only measurements ask.

/** @type {Map<string, number>} */
const counts = new Map();

/** From now on every import of a wasm module is counted. */
export function countCalls() {
  const { instantiate, instantiateStreaming } = WebAssembly;
  WebAssembly.instantiate = /** @type {any} */ (
    (/** @type {any} */ source, /** @type {any} */ imports) => instantiate(source, counted(imports))
  );
  WebAssembly.instantiateStreaming = (source, imports) => instantiateStreaming(source, counted(imports));
}

/** The calls so far, by name. @returns {Record<string, number>} */
export const callsSoFar = () => Object.fromEntries(counts);

/** @param {WebAssembly.Imports | undefined} imports @returns {WebAssembly.Imports} */
function counted(imports = {}) {
  const modules = Object.entries(imports).map(([module, members]) => {
    const wrapped = Object.entries(members).map(([name, member]) => [name, wrap(name, member)]);
    return [module, Object.fromEntries(wrapped)];
  });
  return Object.fromEntries(modules);
}

/** @param {string} name @param {WebAssembly.ImportValue} member */
function wrap(name, member) {
  if (typeof member !== "function") return member;
  // wasm-bindgen's names end in a hash: __wbg_dispatchWorkgroups_1b1e4a0c5f.
  const readable = name.replace(/^__wbg_/, "").replace(/_[0-9a-f]{16}$/, "");
  return (/** @type {any[]} */ ...args) => {
    counts.set(readable, (counts.get(readable) ?? 0) + 1);
    return member(...args);
  };
}
