// A feature's page as one instrument. A token that is pointed at or focused shows where it falls among all firings, in
// its card and on the chart of activations, and whether its token is among the logits; a bar of a chart, a row of its
// table and a row of the logits show which tokens of the examples they stand for.
"use strict";

(() => {
  const CARD = { width: 192, height: 28 };
  const SVG = "http://www.w3.org/2000/svg";
  const MARKED = "pointed";
  const bars = JSON.parse(document.getElementById("activation-bars")?.textContent ?? "[]"); // low, high, tokens
  const all = bars.reduce((sum, [, , n]) => sum + n, 0);

  const strongest = (activations) => Math.max(...activations);
  const chart = (name) => document.querySelector(`#chart-${name}[data-chart-state="drawn"]`);

  // Within a bar tokens are taken to lie evenly.
  function below(value) {
    return bars.reduce((sum, [low, high, n]) => sum + n * Math.min(1, Math.max(0, (value - low) / (high - low))), 0);
  }

  function rank(value) {
    const share = Math.min(1, below(value) / all);
    return `${Number((100 * share).toPrecision(share > 0.99 ? 4 : 2))} %`;
  }

  const drawn = (name, attributes, parent) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    parent.append(element);
    return element;
  };

  // As on the chart: equal ratios are equally wide.
  function histogram(value) {
    const [least, most] = [Math.log2(bars[0][0]), Math.log2(bars.at(-1)[1])];
    const across = (number) => (CARD.width * (Math.log2(number) - least)) / (most - least);
    const tallest = Math.max(...bars.map(([, , n]) => n));
    const svg = document.createElementNS(SVG, "svg");
    for (const [name, size] of Object.entries(CARD)) svg.setAttribute(name, size);
    for (const [low, high, n] of bars) {
      const height = Math.max(1, (CARD.height * n) / tallest);
      const [x, y, width] = [across(low), CARD.height - height, across(high) - across(low)];
      drawn("rect", { x, y, width, height }, svg);
    }
    const x = across(Math.min(bars.at(-1)[1], Math.max(bars[0][0], value)));
    drawn("line", { x1: x, x2: x, y1: 0, y2: CARD.height }, svg);
    return svg;
  }

  function standing(card, value) {
    const list = card.querySelector("dl");
    const name = document.createElement("dt");
    const says = document.createElement("dd");
    name.textContent = "stronger than";
    says.textContent = `${rank(value)} of its firings`;
    list.append(name, says);
    card.append(histogram(value));
  }

  // A line over the chart, where plotly has drawn its axis; nothing of the chart is laid out again.
  function mark(plot, value) {
    const area = plot?.querySelector(".nsewdrag")?.getBoundingClientRect();
    if (!area) return;
    const { range, type } = plot.layout.xaxis;
    const [least, most] = range.map(Number);
    const share = ((type === "log" ? Math.log10(value) : value) - least) / (most - least);
    if (!(share >= 0 && share <= 1)) return;
    const box = plot.getBoundingClientRect();
    const line = document.createElement("i");
    line.className = "mark";
    line.style.left = `${area.left - box.left - plot.clientLeft + share * area.width}px`;
    line.style.top = `${area.top - box.top - plot.clientTop}px`;
    line.style.height = `${area.height}px`;
    plot.append(line);
  }

  function unmark() {
    for (const line of document.querySelectorAll(".plot > .mark")) line.remove();
    for (const row of document.querySelectorAll(`[data-logit].${MARKED}`)) row.classList.remove(MARKED);
  }

  document.addEventListener("token", ({ detail: { ids, activations, card } }) => {
    unmark();
    const value = strongest(activations);
    if (value > 0 && all) {
      standing(card, value);
      mark(chart("activations"), value);
    }
    for (const id of ids) {
      for (const row of document.querySelectorAll(`[data-logit="${id}"]`)) {
        row.classList.add(MARKED);
        mark(chart("logits"), Number(row.dataset.value));
      }
    }
  });
  document.addEventListener("token-left", unmark);

  // The other way round.
  function show(tokens) {
    for (const token of document.querySelectorAll(`.tokens > .${MARKED}`)) token.classList.remove(MARKED);
    for (const token of tokens) token.classList.add(MARKED);
  }
  function between(low, high) {
    const within = ({ dataset }) => dataset.a.split(" ").some((value) => Number(value) >= low && Number(value) < high);
    show([...document.querySelectorAll(".excerpts .tokens > [class]")].filter(within));
  }

  function follow(element, on, off) {
    element.addEventListener("pointerenter", on);
    element.addEventListener("focus", on);
    element.addEventListener("pointerleave", off);
    element.addEventListener("blur", off);
  }

  document.addEventListener("chart", ({ target: plot, detail: { data: [{ customdata }] } }) => {
    if (plot.id !== "chart-activations") return;
    plot.on("plotly_hover", ({ points: [{ customdata: [low, high] }] }) => between(low, high));
    plot.on("plotly_unhover", () => show([]));
    for (const [i, row] of [...plot.parentElement.querySelectorAll(".as-table tbody tr")].entries()) {
      row.tabIndex = 0;
      follow(row, () => between(...customdata[i]), () => show([]));
    }
  });

  for (const row of document.querySelectorAll("[data-logit]")) {
    const { logit, value } = row.dataset;
    const on = () => {
      show(document.querySelectorAll(`.excerpts .tokens > [data-t~="${logit}"]`));
      mark(chart("logits"), Number(value));
    };
    const off = () => {
      show([]);
      unmark();
    };
    follow(row, on, off);
  }

  // A whole context is as long as it likes; the token that it is an example of stands in the middle of what is seen.
  for (const token of document.querySelectorAll(".excerpts:not([data-cut]) [data-at]")) {
    const text = token.parentElement;
    text.scrollTop = token.offsetTop - text.offsetTop - text.clientHeight / 2;
  }
})();
