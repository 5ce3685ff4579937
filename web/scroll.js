// A reader at the end of the conversation follows it; one who has scrolled up stays there, with a button back.

import { byId } from "./dom.js";

/** Within a line or two of the end. */
export function isAtEnd() {
  return document.documentElement.scrollHeight - innerHeight - scrollY < 60;
}

export function scrollToNewest() {
  scrollTo({ top: document.documentElement.scrollHeight });
  byId("to-newest").hidden = true;
}

/** Draws what came, and follows it where the reader does. @param {() => void} draw */
export function drawFollowed(draw) {
  const follow = isAtEnd();
  draw();
  if (follow) scrollToNewest();
  else byId("to-newest").hidden = isAtEnd();
}

export function startScroll() {
  byId("to-newest").addEventListener("click", scrollToNewest);
  addEventListener("scroll", () => isAtEnd() && (byId("to-newest").hidden = true), { passive: true });
}
