// A text that was read: choosing its tokens, by a click or Enter, and following the links within it fetches the same
// part anew, as the address then says. Without this the links do.
"use strict";

(() => {
  const PART = "[data-reading]";
  const tokenOf = (target) => target.closest?.("[data-chosen] .tokens > span");

  function positionsOf(token) {
    const text = token.parentElement;
    let position = Number(text.dataset.first);
    for (let before = token; (before = before.previousElementSibling); ) {
      position += before.dataset.t.split(" ").length;
    }
    return token.dataset.t.split(" ").map((_, number) => position + number);
  }

  const chosenOf = (part) => (part.dataset.at ? part.dataset.at.split(",").map(Number) : []);

  function mark(part) {
    const chosen = new Set(chosenOf(part));
    for (const token of part.querySelectorAll("[data-chosen] .tokens > span")) {
      const is = positionsOf(token).some((position) => chosen.has(position));
      token.toggleAttribute("data-at", is);
      token.ariaCurrent = is ? "true" : null;
    }
  }

  async function show(part, query, focused) {
    // In the library the page's own address keeps what is chosen; the part comes from where the text has its own.
    const answer = await fetch(`${part.dataset.reading}${query}`, { headers: { "HX-Request": "true" } });
    if (!answer.ok || answer.redirected || !part.isConnected) return;
    const holder = document.createElement("template");
    holder.innerHTML = await answer.text();
    const fresh = holder.content.querySelector(PART);
    if (!fresh) return;
    part.replaceWith(fresh);
    history.replaceState(history.state, "", `${location.pathname}${query}`);
    mark(fresh);
    if (focused !== undefined) {
      const token = fresh.querySelectorAll("[data-chosen] .tokens > span")[focused];
      token.tabIndex = 0;
      token.focus({ preventScroll: true });
    }
  }

  function toggle(token) {
    const part = token.closest(PART);
    const positions = positionsOf(token);
    const chosen = new Set(chosenOf(part));
    const there = positions.some((position) => chosen.has(position));
    for (const position of positions) {
      if (there) chosen.delete(position);
      else chosen.add(position);
    }
    const query = new URLSearchParams();
    if (chosen.size) query.set("at", [...chosen].sort((one, other) => one - other).join(","));
    if (part.dataset.feature) query.set("feature", part.dataset.feature);
    const text = query.toString().replaceAll("%2C", ",");
    show(part, text ? `?${text}` : "", [...token.parentElement.children].indexOf(token));
  }

  document.addEventListener("click", (event) => {
    const token = tokenOf(event.target);
    if (token && getSelection().isCollapsed) return toggle(token);
    const link = event.target.closest?.(`${PART} :is(.filter a, [data-where], [data-none])`);
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(link.closest(PART), new URL(link.href).search);
  });
  document.addEventListener("keydown", (event) => {
    const token = tokenOf(event.target);
    if (!token || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    toggle(token);
  });

  const markAll = () => document.querySelectorAll(PART).forEach(mark);
  document.addEventListener("htmx:afterSettle", markAll);
  markAll();
})();
