// A text of one's own, which htmx has read: that it was one too many is said where it would stand.
"use strict";

(() => {
  const own = document.querySelector(".own");

  own?.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (detail.xhr.status !== 429) return;
    const wrong = document.createElement("p");
    wrong.className = "error";
    wrong.setAttribute("role", "alert");
    wrong.textContent = `That is more at once than one person may. Try again in ${detail.xhr.getResponseHeader("Retry-After")} s.`;
    document.getElementById("own-read").replaceChildren(wrong);
  });
})();
