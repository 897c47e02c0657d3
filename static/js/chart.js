// Draws every [data-chart-url]: fetches a figure of plotly's, puts the theme's colours in, and says so when
// there is nothing to draw or it did not come. Charts are drawn as they come into view: a browser allows few
// WebGL contexts at a time.
"use strict";

(() => {
  const ROWS = 200; // of a chart's table; the whole is for a download
  const figures = new WeakMap();

  const note = (kind, ...children) => {
    const element = document.createElement(kind === "loading" ? "p" : "div");
    element.className = kind === "loading" ? "loading busy" : kind;
    if (kind !== "empty") element.setAttribute("role", kind === "failed" ? "alert" : "status");
    element.append(...children);
    return element;
  };
  const said = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });

  // The theme's variables as plotly can read them: a colour computed by the browser is rgb(…).
  function palette() {
    const probe = document.body.appendChild(document.createElement("span"));
    const known = new Map();
    const colour = (name) => {
      if (!known.has(name)) {
        probe.style.color = name;
        known.set(name, getComputedStyle(probe).color);
      }
      return known.get(name);
    };
    return { colour, done: () => probe.remove() };
  }

  function coloured(value, colour) {
    if (typeof value === "string") return value.startsWith("var(--") ? colour(value) : value;
    if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map((each) => coloured(each, colour));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, coloured(each, colour)]));
    }
    return value;
  }

  function layout(given) {
    const axis = (own) => ({
      gridcolor: "var(--line)",
      linecolor: "var(--edge)",
      zerolinecolor: "var(--line)",
      tickcolor: "var(--edge)",
      ticks: "outside",
      ticklen: 4,
      exponentformat: "power",
      automargin: true,
      ...own,
      title: { standoff: 8, ...own?.title },
    });
    return {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: "var(--ink)" },
      hoverlabel: { bgcolor: "var(--raised)", bordercolor: "var(--edge)", font: { color: "var(--ink)" } },
      hovermode: "closest",
      spikedistance: 0, // a miss would have plotly go through every point
      margin: { l: 56, r: 16, t: 16, b: 44 },
      showlegend: false,
      dragmode: "zoom",
      ...given,
      xaxis: axis(given?.xaxis),
      yaxis: axis(given?.yaxis),
    };
  }

  const CONFIG = {
    responsive: true,
    displaylogo: false,
    displayModeBar: "hover",
  };
  const BUTTONS = ["autoScale2d", "zoomIn2d", "zoomOut2d"]; // that are left out
  const SELECTING = ["select2d", "lasso2d"]; // where a selection leads nowhere

  async function draw(plot) {
    const figure = figures.get(plot);
    const { colour, done } = palette();
    const themed = coloured({ data: figure.data, layout: layout(figure.layout) }, colour);
    done();
    const modeBarButtonsToRemove = figure.ways?.y ? BUTTONS : [...BUTTONS, ...SELECTING];
    await Plotly.react(plot, themed.data, themed.layout, { ...CONFIG, modeBarButtonsToRemove });
  }

  // The same figures for whoever sees no picture.
  function table(plot, figure) {
    plot.parentElement.querySelector(".as-table")?.remove();
    const { x, y, text } = figure.data[0];
    if (!x || !y) return; // not of points or bars
    const several = figure.data.length > 1; // of the same x
    const named = figure.layout.yaxis?.title?.text ?? "y";
    const head = [text && "", figure.layout.xaxis?.title?.text ?? "x", ...(several ? figure.data.map((each) => `${each.name}: ${named}`) : [named])];
    const body = document.createElement("table");
    body.className = "table";
    const row = (cells, tag) => {
      const line = document.createElement("tr");
      line.append(...cells.filter((cell) => cell !== undefined).map((cell) => said(tag, cell)));
      return line;
    };
    const shown = Math.min(x.length, ROWS);
    const numbers = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
    const figureOf = (value) => (typeof value === "number" ? numbers.format(value) : value);
    body.createTHead().append(row(head, "th"));
    const rows = body.createTBody();
    for (let i = 0; i < shown; i += 1) rows.append(row([text?.[i], figureOf(x[i]), ...figure.data.map((each) => figureOf(each.y[i]))], "td"));
    const details = document.createElement("details");
    details.className = "as-table";
    const holder = document.createElement("div");
    holder.tabIndex = 0;
    holder.append(body);
    details.append(said("summary", shown < x.length ? `The first ${shown} of ${x.length.toLocaleString("en")} as a table` : "As a table"), holder);
    plot.after(details);
  }

  async function load(plot) {
    plot.dataset.chartState = "loading";
    plot.replaceChildren(note("loading", "Loading the chart"));
    try {
      const answer = await fetch(plot.dataset.chartUrl, { headers: { Accept: "application/json" } });
      if (!answer.ok || answer.redirected) throw new Error(answer.redirected ? "sign in again" : `the server answered ${answer.status}`);
      const figure = await answer.json();
      if (!figure.data.length) {
        plot.replaceChildren(note("empty", said("strong", "Nothing to draw"), said("p", plot.dataset.chartEmpty ?? "There is no data of this kind.")));
        plot.dataset.chartState = "empty";
        return;
      }
      figures.set(plot, figure);
      plot.replaceChildren();
      await draw(plot);
      table(plot, figure);
      plot.dataset.chartState = "drawn";
      plot.dispatchEvent(new CustomEvent("chart", { bubbles: true, detail: figure })); // for what goes with it
    } catch (why) {
      const again = said("button", "Try again");
      again.type = "button";
      again.className = "quiet";
      again.addEventListener("click", () => load(plot));
      plot.replaceChildren(note("failed", said("strong", "The chart did not come"), said("p", why.message), again));
      plot.dataset.chartState = "failed";
    }
  }

  const seen = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        seen.unobserve(target);
        load(target);
      }
    },
    { rootMargin: "200px" },
  );
  const watch = (root) => {
    for (const plot of root.querySelectorAll("[data-chart-url]:not([data-chart-state])")) seen.observe(plot);
  };

  watch(document);
  document.addEventListener("htmx:load", (event) => watch(event.target));
  document.addEventListener("htmx:beforeCleanupElement", (event) => {
    if (event.target.dataset?.chartState === "drawn") Plotly.purge(event.target); // its WebGL contexts go with it
  });
  document.addEventListener("theme", () => {
    for (const plot of document.querySelectorAll('[data-chart-state="drawn"]')) draw(plot);
  });
})();
