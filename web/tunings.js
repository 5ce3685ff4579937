// Which shaders are fastest on which device, kept in the origin's private files between visits. Where a browser keeps none
// (private windows), a device is measured again: that costs a second, no answer.

const FILE = "tunings.json";

/** What was kept, or nothing. @returns {Promise<string | undefined>} */
export async function readTunings() {
  try {
    const folder = await navigator.storage.getDirectory();
    const file = await (await folder.getFileHandle(FILE)).getFile();
    return await file.text();
  } catch {
    return undefined;
  }
}

/** @param {string} text */
export async function writeTunings(text) {
  try {
    const folder = await navigator.storage.getDirectory();
    const stream = await (await folder.getFileHandle(FILE, { create: true })).createWritable();
    await stream.write(text);
    await stream.close();
  } catch {
    // Measured again next time.
  }
}
