// The form of a steering: features that are found are put into its rows, and each row's strength has a slider that is
// coloured by the share of the layer's typical norm which is added there.
"use strict";

(() => {
  const PARTS = [0.25, 0.5, 1]; // of the typical norm, where one colour goes over into the next
  const WIDEST = 50; // what a strength in units may be
  const fields = ["sae", "index", "method", "strength", "unit", "where"];

  const significant = (number) => Number(number.toPrecision(3));

  function parts(row) {
    return Object.fromEntries(fields.map((name) => [name, row.querySelector(`[name$="-${name}"]`)]));
  }

  // What is said of a row below it: the feature's label, the slider, and the share.
  function tuning(row) {
    const whole = document.createElement("div");
    whole.className = "tuning";
    const [called, range, share] = ["span", "input", "output"].map((name) => document.createElement(name));
    Object.assign(called, { className: "hint called", dir: "auto" });
    Object.assign(range, { type: "range", step: "any", className: "strength", ariaLabel: "Strength" });
    share.className = "hint share";
    whole.append(called, range, share);
    row.append(whole);
    range.addEventListener("input", () => {
      parts(row).strength.value = significant(Number(range.value));
      tell(row);
    });
    return whole;
  }

  // What a strength of 1 adds, as a share of the typical norm.
  function shareOfOne(row) {
    const { p99, maximum, norm } = row.measures ?? {};
    const unit = parts(row).unit.value;
    return (unit === "p99" ? p99 : unit === "maximum" ? maximum : 1) * norm || 0;
  }

  function tell(row) {
    const { strength, method, unit } = parts(row);
    const [called, range, share] = (row.querySelector(".tuning") ?? tuning(row)).children;
    called.textContent = row.measures?.label ?? "";
    const inUnits = method.value === "add" || method.value === "clamp";
    const taken = inUnits || method.value === "scale";
    for (const each of [strength, range]) each.disabled = !taken;
    unit.disabled = !inUnits;
    const one = inUnits ? shareOfOne(row) : 0;
    const most = one ? Math.min(WIDEST, Math.max(1.25 / one, 1)) : 8;
    range.min = -most;
    range.max = most;
    range.value = strength.value;
    const places = one ? PARTS.map((part) => Math.min(1, part / one / most)) : [];
    places.forEach((place, at) => range.style.setProperty(`--part-${at}`, `${50 * place}%`));
    range.hidden = !taken || !parts(row).index.value;
    range.toggleAttribute("data-coloured", Boolean(one));
    const percent = 100 * Math.abs(strength.value) * one;
    share.textContent = one ? `${significant(percent)} % of the layer’s typical norm` : "";
    share.toggleAttribute("data-strong", percent > 100);
  }

  async function measure(row) {
    const { sae, index } = parts(row);
    row.measures = null;
    if (/^\d{1,9}$/.test(index.value)) {
      const address = row.parentElement.dataset.measures.replace("SAE/0", `${sae.value}/${index.value}`);
      const answer = await fetch(address);
      if (answer.ok) row.measures = await answer.json();
    }
    tell(row);
  }

  const rows = () => [...document.querySelectorAll(".changes > .change")];

  // The last row is always an empty one; the management form counts them.
  function another(last) {
    const count = document.querySelector('[name="changes-TOTAL_FORMS"]');
    const most = Number(document.querySelector('[name="changes-MAX_NUM_FORMS"]').value);
    if (Number(count.value) >= most) return null;
    const row = last.cloneNode(true);
    const number = Number(count.value);
    for (const each of row.querySelectorAll("[name], [id], [for]")) {
      for (const attribute of ["name", "id", "for", "aria-describedby"]) {
        const value = each.getAttribute(attribute);
        if (value) each.setAttribute(attribute, value.replace(/changes-\d+/, `changes-${number}`));
      }
    }
    row.querySelectorAll(".tuning, .errorlist").forEach((each) => each.remove());
    row.ariaLabel = `Change ${number + 1}`;
    count.value = number + 1;
    last.after(row);
    parts(row).index.value = "";
    tell(row);
    return row;
  }

  function pick({ pick: sae, index, strength }) {
    const all = rows();
    const row = all.find((each) => !parts(each).index.value) ?? another(all.at(-1));
    if (!row) return;
    const into = parts(row);
    Object.assign(into.sae, { value: sae });
    Object.assign(into.index, { value: index });
    Object.assign(into.method, { value: "add" });
    Object.assign(into.unit, { value: "p99" });
    Object.assign(into.strength, { value: strength });
    measure(row);
    if (row === rows().at(-1)) another(row);
    into.strength.focus();
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-pick]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    pick(link.dataset);
  });

  document.addEventListener("change", ({ target }) => {
    const row = target.closest(".change");
    if (row && /-(sae|index)$/.test(target.name)) measure(row);
    else if (row) tell(row);
    else if (target.id === "find-list") target.form.requestSubmit();
  });

  document.addEventListener("submit", async (event) => {
    if (!event.target.matches("form[data-finds]")) return;
    event.preventDefault();
    const answer = await fetch(`${event.target.action}?${new URLSearchParams(new FormData(event.target))}`);
    const found = document.getElementById("found");
    if (answer.ok && found) found.innerHTML = await answer.text();
  });

  rows().forEach(measure);
})();
