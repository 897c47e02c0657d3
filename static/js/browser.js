// Keeps addresses short: fields left empty, and columns that are the usual ones, are not sent.
"use strict";

// A row that is pointed at, or whose link has the focus, is shown on the small map with its neighbours.
for (const table of document.querySelectorAll("table.features")) {
  const map = document.querySelector(".browser-head .small-map svg");
  const show = (row) => {
    for (const shown of map.querySelectorAll(".near, .here")) {
      if (shown.matches(".near")) shown.remove();
      else shown.classList.remove("here");
    }
    const index = row?.querySelector(".whole")?.textContent;
    const dot = index && map.querySelector(`[data-row="${index}"]`);
    if (!dot) return;
    for (const pair of dot.dataset.near.split(";").filter(Boolean)) {
      const ring = document.createElementNS(map.namespaceURI, "circle");
      const [cx, cy] = pair.split(",");
      for (const [name, value] of Object.entries({ cx, cy, r: 1.8, class: "near" })) ring.setAttribute(name, value);
      map.append(ring);
    }
    dot.classList.add("here");
    map.append(dot); // above the others
  };
  if (!map) break;
  table.addEventListener("pointerover", ({ target }) => show(target.closest("tbody tr")));
  table.addEventListener("focusin", ({ target }) => show(target.closest("tbody tr")));
  table.addEventListener("pointerleave", () => show(null));
}

document.querySelector("form.browse")?.addEventListener("formdata", ({ target, formData }) => {
  const chosen = formData.getAll("columns").join(" ");
  if (chosen === target.dataset.usual) formData.delete("columns");
  for (const name of new Set(formData.keys())) {
    if (formData.get(name) === "") formData.delete(name);
  }
});
