// Keeping a feature in a list, which htmx asks for: what is under way is waited for before the page is left,
// and a page that the browser brings back as it was is told what is kept by now.
"use strict";

(() => {
  const keep = document.getElementById("keep");
  if (!keep) return;
  let waiting = 0;
  let next = null; // where somebody went meanwhile

  keep.addEventListener("htmx:beforeRequest", () => waiting++);
  keep.addEventListener("htmx:afterRequest", () => {
    waiting--;
    if (!waiting && next) location.assign(next);
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    const elsewhere = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    if (!waiting || !link || elsewhere || keep.contains(link)) return;
    event.preventDefault();
    next = link.href;
  });

  window.addEventListener("pageshow", ({ persisted }) => {
    if (!persisted) return;
    next = null;
    htmx.ajax("GET", keep.dataset.keep, keep);
  });
})();
