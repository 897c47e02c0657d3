// Keeps addresses short: fields left empty, and columns that are the usual ones, are not sent.
"use strict";

document.querySelector("form.browse")?.addEventListener("formdata", ({ target, formData }) => {
  const chosen = formData.getAll("columns").join(" ");
  if (chosen === target.dataset.usual) formData.delete("columns");
  for (const name of new Set(formData.keys())) {
    if (formData.get(name) === "") formData.delete(name);
  }
});
