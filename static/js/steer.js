// Steering without a page's load in between: what is asked is posted, and the answer takes this page's place, at its own
// address. Texts that are being written: the job's text, a line of JSON for each step, shared out over the columns. And on
// a token's card (tokens.js), its probability and what else might have come.
"use strict";

(() => {
  function share(whole) {
    const columns = [];
    for (const line of whole.split("\n").slice(0, -1)) { // what has no end yet is not whole
      JSON.parse(line).forEach((piece, at) => (columns[at] = (columns[at] ?? "") + (piece ?? "")));
    }
    columns.forEach((text, at) => {
      const written = document.querySelector(`[data-written="${at}"]`);
      if (written.textContent !== text) written.textContent = text;
    });
  }

  function watch() {
    const output = document.querySelector(".steered [data-text]");
    if (!output) return;
    const tell = () => share(output.textContent);
    new MutationObserver(tell).observe(output, { childList: true });
    tell();
  }

  const percent = (p) => `${Number((100 * p).toPrecision(3))} %`;

  function add(list, name, value) {
    const [term, told] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    told.textContent = value;
    list.append(term, told);
  }

  document.addEventListener("token", ({ target, detail }) => {
    const written = target.closest("[data-written]");
    const all = document.getElementById("alternatives");
    if (!written || !all) return;
    const first = Number(target.closest(".tokens").dataset.first);
    const [p, others] = JSON.parse(all.textContent)[written.dataset.written][detail.position - first];
    const list = detail.card.querySelector("dl");
    add(list, "probability", percent(p));
    for (const [token, q] of others) add(list, `“${token}”`, percent(q));
  });

  const LOOK = 1_000; // milliseconds between two looks at a place in the queue

  async function place() {
    const waiting = document.querySelector("[data-place]");
    if (waiting && !document.hidden) {
      const answer = await fetch(waiting.dataset.place);
      if (answer.ok) waiting.textContent = await answer.text();
    }
    if (document.querySelector("[data-place]")) setTimeout(place, LOOK);
  }

  function watchAll() {
    if (document.querySelector("[data-place]")) setTimeout(place, LOOK);
    watch();
    // jobs.js puts a new panel in the place of the old one when the state changes.
    const streams = document.querySelector("[data-streams]");
    if (streams) new MutationObserver(watch).observe(streams, { childList: true });
  }

  function show(answer, page) {
    const main = page.querySelector("main");
    if (!main) return false;
    document.dispatchEvent(new CustomEvent("jobs-came", { detail: main })); // first of all: the lm may be at it already
    document.querySelector("main").replaceWith(main);
    const address = answer.headers.get("Content-Location");
    if (address) {
      history.pushState({ steered: true }, "", address);
      // The way back leads to a page whose scripts have to run once more.
      window.addEventListener("popstate", () => location.reload());
    }
    document.title = page.title;
    window.scrollTo(0, 0);
    main.focus({ preventScroll: true });
    window.htmx?.process(main);
    watchAll();
    return true;
  }

  async function ask(form, button) {
    const buttons = form.querySelectorAll("button");
    const body = new URLSearchParams(new FormData(form, button));
    buttons.forEach((each) => (each.disabled = true)); // one text for one click
    try {
      const answer = await fetch(form.action, { method: "POST", body, headers: { "HX-Request": "true" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (show(answer, page)) return;
    } catch {
      // The server is away: the browser says so in its own way.
    }
    buttons.forEach((each) => (each.disabled = false));
    form.removeAttribute("data-steers");
    form.requestSubmit(button);
  }

  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-steers]")) return;
    event.preventDefault();
    ask(event.target, event.submitter);
  });

  watchAll();
})();
