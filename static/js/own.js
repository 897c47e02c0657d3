// A text of one's own, which htmx has read: what is wrong with it is shown where it would stand.
"use strict";

(() => {
  const own = document.querySelector(".own");

  own?.addEventListener("htmx:beforeSwap", ({ detail }) => {
    const { status } = detail.xhr;
    if (status === 422) {
      detail.shouldSwap = true;
      detail.isError = false;
    } else if (status === 429) {
      const wrong = document.createElement("p");
      wrong.className = "error";
      wrong.setAttribute("role", "alert");
      wrong.textContent = `That is more at once than one person may. Try again in ${detail.xhr.getResponseHeader("Retry-After")} s.`;
      document.getElementById("own-read").replaceChildren(wrong);
    }
  });
})();
