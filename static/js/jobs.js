// Keeps every [data-job] on the page up to date over one stream.
// A change of state fetches the element anew from its data-url, as the server renders it.
"use strict";

(() => {
  const container = document.querySelector("[data-streams]");
  if (!container) return;

  let source = null;
  let place = ""; // where in every job's text this page is: the last event's id
  const number = new Intl.NumberFormat("en");

  const elementsOf = (job) => document.querySelectorAll(`[data-job="${job}"]`);
  const live = () => [...document.querySelectorAll("[data-job][data-live]")];

  function figures({ done, total, unit }) {
    if (total) return `${number.format(done)} of ${number.format(total)} ${unit}`.trimEnd();
    return done ? `${number.format(done)} ${unit}`.trimEnd() : "";
  }

  function showProgress(element, event) {
    // A panel holds the rows of its parts; what is theirs is not the panel's.
    const own = (name) => [...element.querySelectorAll(name)].find((found) => found.closest("[data-job]") === element);
    const bar = own("[data-progress]");
    if (bar && event.total) {
      bar.max = event.total;
      bar.value = event.done;
    } else if (bar && event.state === "running") {
      bar.removeAttribute("value");
    }
    const text = own("[data-figures]");
    if (text) text.textContent = figures(event);
    const message = own("[data-message]");
    if (message) message.textContent = event.message;
  }

  async function fetchAnew(element) {
    const answer = await fetch(element.dataset.url, { headers: { "X-Requested-With": "fetch" } });
    if (!answer.ok || answer.redirected) return;
    const holder = document.createElement("template");
    holder.innerHTML = await answer.text();
    const fresh = holder.content.querySelector("[data-job]");
    const shown = element.querySelector("[data-text]");
    const toCome = fresh.querySelector("[data-text]");
    if (shown && toCome && shown.dataset.attempt === toCome.dataset.attempt && shown.textContent.length > toCome.textContent.length) {
      toCome.textContent = shown.textContent; // the stream is ahead of the page
    }
    element.replaceWith(fresh);
    follow();
  }

  function onJob(event) {
    for (const element of elementsOf(event.job)) {
      if (element.dataset.state === event.state) showProgress(element, event);
      else {
        element.dataset.state = event.state;
        fetchAnew(element);
      }
    }
  }

  function onText({ job, attempt, at, text }) {
    for (const element of elementsOf(job)) {
      const output = element.querySelector("[data-text]");
      if (!output) continue;
      if (Number(output.dataset.attempt) !== attempt || at === 0) output.textContent = "";
      output.dataset.attempt = attempt;
      const atEnd = output.scrollTop + output.clientHeight >= output.scrollHeight - 4;
      output.append(text);
      if (atEnd) output.scrollTop = output.scrollHeight;
    }
  }

  function stop() {
    source?.close();
    source = null;
  }

  let followed = "";

  function follow() {
    const ids = [...new Set(live().map((element) => element.dataset.job))].sort().join("&job=");
    if (source && ids === followed) return;
    stop();
    followed = ids;
    if (!ids || document.hidden) return; // a browser allows six connections to a host: hidden tabs hold none
    const from = place ? `&last_event_id=${encodeURIComponent(place)}` : "";
    source = new EventSource(`${container.dataset.streams}?job=${ids}${from}`);
    const on = (name, act) => source.addEventListener(name, (event) => {
      place = event.lastEventId;
      act(JSON.parse(event.data));
    });
    on("job", onJob);
    on("text", onText);
    on("end", stop);
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) stop();
    followed = "";
    follow();
  });
  window.addEventListener("pagehide", stop);
  window.addEventListener("pageshow", (event) => { if (event.persisted) follow(); });
  follow();
})();
