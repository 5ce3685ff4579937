// The second wasm module, which follows grammars: fetched by the engine once an answer has one.

let nInstances = 0;

/** A new instance. One that failed stays with its script, so that the next one needs another address. @returns {Promise<any>} */
export async function instantiateGrammars() {
  const script = new URL("../pkg/grammar.js", import.meta.url);
  if (nInstances++ > 0) script.search = `?${nInstances}`;
  const module = await import(script.href);
  await module.default({ module_or_path: new URL("../pkg/grammar_bg.wasm", import.meta.url) });
  return module;
}
