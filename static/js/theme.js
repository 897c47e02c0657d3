// Light, dark, or as the system says. Runs before the page is drawn; what was chosen is kept by the browser.
"use strict";

(() => {
  const root = document.documentElement;
  const ORDER = { system: "light", light: "dark", dark: "system" };
  let chosen = "system";

  function recall() {
    try {
      chosen = localStorage.getItem("theme") ?? "system";
    } catch {
      chosen = "system"; // a browser that keeps nothing
    }
    if (!(chosen in ORDER)) chosen = "system";
  }

  function show() {
    if (chosen === "system") delete root.dataset.theme;
    else root.dataset.theme = chosen;
    for (const button of document.querySelectorAll("[data-theme-switch]")) {
      const says = `Colours: ${chosen === "system" ? "as the system's" : chosen}`;
      button.title = says;
      button.setAttribute("aria-label", says);
      const use = button.querySelector("use");
      const icon = { system: "system", light: "sun", dark: "moon" }[chosen];
      use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${icon}`));
      button.hidden = false;
    }
    document.dispatchEvent(new CustomEvent("theme"));
  }

  function next() {
    chosen = ORDER[chosen];
    try {
      localStorage.setItem("theme", chosen);
    } catch {
      // then for this page alone
    }
    show();
  }

  recall();
  if (chosen !== "system") root.dataset.theme = chosen;
  document.addEventListener("DOMContentLoaded", show);
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-theme-switch]")) next();
  });
  window.addEventListener("storage", (event) => {
    if (event.key !== "theme") return;
    recall();
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new CustomEvent("theme")));
})();
