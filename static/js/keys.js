// Single keys: every [data-key] names the key that clicks or focuses it, and the help lists them all.
"use strict";

(() => {
  const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", " ": "Space" };
  const help = document.getElementById("keys");
  const KEPT = "keys-off";

  const off = () => {
    try {
      return localStorage.getItem(KEPT) === "yes";
    } catch {
      return false;
    }
  };

  const shown = (element) => element.checkVisibility?.() ?? true;
  const types = (element) =>
    element.closest("textarea, select, [contenteditable], input:not([type=checkbox], [type=radio], [type=button], [type=submit])");
  const bearers = () => [...document.querySelectorAll("[data-key]")].filter(shown);

  function act(element) {
    if (element.matches("input:not([type=checkbox]), textarea, select")) {
      element.focus();
      element.select?.();
    } else {
      element.click();
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape" && types(event.target)) event.target.blur();
    // In a dialog the keys are the dialog's; arrows belong to whatever moves by them.
    if (off() || types(event.target) || document.querySelector("dialog[open]")) return;
    if (event.key.startsWith("Arrow") && event.target.closest(".tokens, .scroll, input")) return;
    const element = bearers().find((bearer) => bearer.dataset.key === event.key);
    if (!element) return;
    event.preventDefault();
    act(element);
  });

  function list() {
    const rows = bearers().flatMap((bearer) => {
      const key = document.createElement("dt");
      const name = document.createElement("kbd");
      name.textContent = NAMES[bearer.dataset.key] ?? bearer.dataset.key;
      key.append(name);
      const does = document.createElement("dd");
      does.textContent = bearer.dataset.keyLabel ?? bearer.getAttribute("aria-label") ?? bearer.textContent.trim();
      return [key, does];
    });
    help.querySelector("dl").replaceChildren(...rows);
    help.querySelector("[data-keys-on]").checked = !off();
  }

  document.addEventListener("opening", (event) => {
    if (event.target === help) list();
  });
  help?.querySelector("[data-keys-on]").addEventListener("change", (event) => {
    try {
      localStorage.setItem(KEPT, event.target.checked ? "no" : "yes");
    } catch {
      // a browser that keeps nothing
    }
  });
})();
