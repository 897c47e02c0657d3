// Says before anything is sent that files are too large together, and that a large one is on its way.
"use strict";

(() => {
  const form = document.querySelector("form[data-most]");
  const input = form?.querySelector("[data-upload]");
  if (!input) return;
  const most = Number(form.dataset.most);
  const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

  input.addEventListener("change", () => {
    const together = [...input.files].reduce((sum, file) => sum + file.size, 0);
    input.setCustomValidity(together > most ? `These are ${mib(together)} together; ${mib(most)} are taken.` : "");
    input.reportValidity();
  });

  form.addEventListener("submit", () => {
    if (input.files.length) form.querySelector("button").setAttribute("aria-busy", "true");
  });
  window.addEventListener("pageshow", () => form.querySelector("button").removeAttribute("aria-busy"));
})();
