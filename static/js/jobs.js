// Keeps every [data-job] on the page up to date over one stream.
// A change of state fetches the element anew from its data-url, as the server renders it; texts come
// from the stream alone, whole from its beginning, so that no piece is shown twice or lost between the two.
"use strict";

(() => {
  const number = new Intl.NumberFormat("en");
  const texts = new Map(); // of each job: its attempt and what that has written so far
  let source = null;
  let followed = "";
  let place = ""; // where in every job's text this page is: the last event's id

  const elementsOf = (job) => document.querySelectorAll(`[data-job="${job}"]`);

  function figures({ done, total, unit }) {
    if (total) return `${number.format(done)} of ${number.format(total)} ${unit}`.trimEnd();
    return done ? `${number.format(done)} ${unit}`.trimEnd() : "";
  }

  // A panel holds the rows of its parts; what is theirs is not the panel's.
  const own = (element, selector) =>
    [...element.querySelectorAll(selector)].find((found) => found.closest("[data-job]") === element);

  function showProgress(element, event) {
    const bar = own(element, "[data-progress]");
    if (bar && event.total) {
      bar.max = event.total;
      bar.value = event.done;
    } else if (bar && event.state === "running") {
      bar.removeAttribute("value");
    }
    const text = own(element, "[data-figures]");
    if (text) text.textContent = figures(event);
    const message = own(element, "[data-message]");
    if (message) message.textContent = event.message;
  }

  async function fetchAnew(element) {
    const answer = await fetch(element.dataset.url);
    if (!answer.ok || answer.redirected || !element.isConnected) return;
    const holder = document.createElement("template");
    holder.innerHTML = await answer.text();
    const fresh = holder.content.querySelector("[data-job]");
    element.replaceWith(fresh);
    showText(fresh);
    follow();
  }

  function onJob(event) {
    for (const element of elementsOf(event.job)) {
      if (element.dataset.state === event.state) {
        showProgress(element, event);
      } else {
        element.dataset.state = event.state;
        fetchAnew(element);
        element.dispatchEvent(new CustomEvent("job-state", { bubbles: true, detail: event }));
      }
    }
  }

  function showText(element, piece) {
    const output = own(element, "[data-text]");
    const known = texts.get(element.dataset.job);
    if (!output || !known) return;
    const atEnd = output.scrollTop + output.clientHeight >= output.scrollHeight - 4;
    if (piece === undefined) output.textContent = known.text;
    else output.append(piece);
    if (atEnd) output.scrollTop = output.scrollHeight;
  }

  function onText({ job, attempt, at, text }) {
    const known = texts.get(String(job));
    const goesOn = known && known.attempt === attempt && at > 0;
    texts.set(String(job), { attempt, text: goesOn ? known.text + text : text });
    for (const element of elementsOf(job)) showText(element, goesOn ? text : undefined);
  }

  function stop() {
    source?.close();
    source = null;
    followed = "";
  }

  // A browser allows six connections to a host, so a hidden tab holds none, unless a job of it stops
  // when nobody watches.
  const needed = (within) => !document.hidden || within.querySelector("[data-live][data-watched]");

  function follow(within = document) {
    const live = [...within.querySelectorAll("[data-job][data-live]")];
    const ids = [...new Set(live.map((element) => element.dataset.job))].sort().join("&job=");
    if (source && ids === followed && needed(within)) return;
    stop();
    if (!ids || !needed(within)) return;
    const from = place ? `&last_event_id=${encodeURIComponent(place)}` : "";
    const { streams } = live[0].closest("[data-streams]").dataset;
    source = new EventSource(`${streams}?job=${ids}${from}`);
    followed = ids;
    const on = (name, act) =>
      source.addEventListener(name, (event) => {
        place = event.lastEventId;
        act(JSON.parse(event.data));
      });
    on("job", onJob);
    on("text", onText);
    on("end", stop);
  }

  document.addEventListener("htmx:afterSwap", () => follow()); // a list that came may have other jobs
  document.addEventListener("jobs-came", ({ detail }) => follow(detail)); // what is about to be shown
  document.addEventListener("visibilitychange", () => follow());
  window.addEventListener("pagehide", stop);
  window.addEventListener("pageshow", () => follow()); // one that comes back by the way back
  follow();
})();
