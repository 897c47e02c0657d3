// Scoring by keys: digits give the criterion that one is at its points and go on to the next, up and down move between
// criteria. What is given is kept as one goes: on the server, and in the browser while that cannot be reached.
"use strict";

(() => {
  const place = document.querySelector(".scoring");
  const form = place?.querySelector("form[data-drafts]");
  if (!form) return;
  const MINE = `score ${place.dataset.who} `; // who shares a browser shares no text
  const KEPT = `${MINE}${place.dataset.save}`;
  const PAUSE = 500; // ms after the last change
  const criteria = [...form.querySelectorAll(".criterion")];
  const kept = place.querySelector(".kept");
  const total = form.querySelector(".total");
  const types = (element) => element.matches("textarea, input:not([type=radio], [type=checkbox])");
  const open = () => criteria.filter((each) => !("fixed" in each.dataset) && !each.disabled);
  const chosen = (criterion) => criterion.querySelector("input:checked")?.value;
  const at = () => document.activeElement.closest?.(".criterion") ?? open().find((each) => !chosen(each)) ?? open()[0];

  // Full marks in one criterion may leave another without effect.
  function settle() {
    for (const each of criteria) {
      const other = criteria.find((one) => one.dataset.criterion === each.dataset.unless);
      const off = other !== undefined && chosen(other) === other.dataset.full;
      each.disabled = off;
      each.querySelector(".not-asked").hidden = !off;
    }
  }

  function goTo(criterion) {
    const input = criterion?.querySelector("input:checked") ?? criterion?.querySelector("input");
    (input ?? form.querySelector("[data-main]")).focus();
    (criterion ?? form.querySelector("[data-main]")).scrollIntoView({ block: "nearest" });
  }

  function move(by) {
    const there = open();
    goTo(there[there.indexOf(at()) + by] ?? (by > 0 ? undefined : there[0]));
  }

  function give(points) {
    const criterion = at();
    const input = criterion?.querySelector(`input[value="${points}"]`);
    if (!input) return;
    input.checked = true;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    const there = open();
    goTo(there[there.indexOf(criterion) + 1]);
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
    if (event.target.matches("textarea") && form.contains(event.target) && event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      if (event.target.name === "hypothesis" && form.matches(".saying")) form.requestSubmit(form.querySelector("[data-main]"));
      else event.target.blur();
      return;
    }
    if (types(event.target) || event.target.closest(".tokens")) return;
    if (event.key === "Enter" && event.target.matches("input[type=radio]")) {
      event.preventDefault();
      form.requestSubmit(form.querySelector("[data-main]"));
    } else if (/^[0-9]$/.test(event.key) && criteria.length) {
      event.preventDefault();
      give(event.key);
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!criteria.length) return;
      event.preventDefault();
      move(event.key === "ArrowDown" ? 1 : -1);
    }
  });

  // Kept as one goes.
  let waiting = 0;
  let sent = false;

  const given = () => {
    const data = new FormData(form);
    data.delete("csrfmiddlewaretoken");
    return data;
  };

  function keepHere(data) {
    try {
      localStorage.setItem(KEPT, JSON.stringify([...data.entries()].filter(([name]) => name !== "form")));
    } catch {
      // a browser that keeps nothing
    }
  }

  function forgetHere() {
    try {
      localStorage.removeItem(KEPT);
    } catch {
      // as above
    }
  }

  async function keep() {
    const data = given();
    keepHere(data);
    let says = "Not kept: the server cannot be reached. It stays in this browser.";
    try {
      const headers = { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value, Accept: "application/json" };
      const answer = await fetch(place.dataset.save, { method: "POST", body: data, headers, redirect: "manual" });
      if (answer.ok) {
        const { seated, total: sum } = await answer.json();
        says = seated ? "Kept." : "Kept. You have no seat here by now: what you give may count as an extra score.";
        if (total) total.textContent = sum === null ? "" : `${sum} of ${total.dataset.most}`;
        forgetHere();
      } else if (answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403) {
        says = "Not kept: you are no longer signed in. It stays in this browser; sign in and come back.";
      } else {
        says = `Not kept: the server said ${answer.status}. It stays in this browser.`;
      }
    } catch {
      // the network: as above
    }
    if (!sent) kept.textContent = says;
  }

  function change() {
    settle();
    clearTimeout(waiting);
    waiting = setTimeout(keep, PAUSE);
  }

  // What could not be sent is there again once one comes back; of other items it has arrived, as one has gone on.
  function restore() {
    let there = [];
    try {
      there = JSON.parse(localStorage.getItem(KEPT) ?? "[]");
      for (const key of Object.keys(localStorage)) if (key.startsWith(MINE) && key !== KEPT) localStorage.removeItem(key);
    } catch {
      return;
    }
    for (const [name, value] of there) {
      const inputs = [...form.querySelectorAll(`[name="${CSS.escape(name)}"]`)].filter((each) => !each.disabled);
      for (const each of inputs) {
        if (each.type === "radio" || each.type === "checkbox") each.checked = each.type === "checkbox" || each.value === value;
        else each.value = value;
      }
    }
    if (there.length) change();
  }

  form.addEventListener("input", change);
  form.addEventListener("change", change);
  form.addEventListener("submit", () => {
    sent = true;
    clearTimeout(waiting);
    keepHere(given());
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload(); // what was given is with the server
  });
  restore();
  settle();
  if (form.matches(".saying")) form.elements.hypothesis.focus({ preventScroll: true });
  else if (!total || open().some((each) => !chosen(each))) goTo(open().find((each) => !chosen(each)));
  else form.querySelector("[data-main]").focus({ preventScroll: true });
  if (total) change();
})();
