// Charts whose bars, points and selections lead somewhere: a figure's `ways` name the list and the columns that it is
// filtered by (charts.Ways). The rows of a chart's table carry the same links, for whoever uses no pointer.
"use strict";

(() => {
  const FIGURES = 4; // of a number in words

  const short = (value) => Number(Number(value).toPrecision(FIGURES)).toString();
  const filtered = (ways, filters) => `${ways.address}?${new URLSearchParams(filters)}`;
  const between = (column, least, most) => ({ [`${column}_min`]: least, [`${column}_max`]: most });

  // A bar's customdata ends with its filter; a point's is the index of its feature.
  function way(ways, data) {
    return Array.isArray(data) ? filtered(ways, between(ways.x, data[2], data[3])) : `${ways.address}${data}/`;
  }

  function linked(plot, { data: [{ customdata }], ways }) {
    for (const [i, row] of [...plot.parentElement.querySelectorAll(".as-table tbody tr")].entries()) {
      const link = document.createElement("a");
      link.href = way(ways, customdata[i]);
      link.append(...row.cells[0].childNodes);
      row.cells[0].append(link);
    }
  }

  // Of a box what it spans, of a lasso what its points do.
  function extents({ range, points }) {
    const ends = (values) => [Math.min(...values), Math.max(...values)];
    if (range) return [ends(range.x), ends(range.y)];
    return [ends(points.map(({ x }) => x)), ends(points.map(({ y }) => y))];
  }

  function selected(plot, ways, event) {
    plot.parentElement.querySelector(".selected")?.remove();
    if (!event?.points?.length) return;
    const [x, y] = extents(event);
    const link = document.createElement("a");
    link.className = "button";
    link.href = filtered(ways, { ...between(ways.x, ...x.map(String)), ...between(ways.y, ...y.map(String)) });
    link.textContent = `Browse features with ${ways.x} ${x.map(short).join(" to ")} and ${ways.y} ${y.map(short).join(" to ")}`;
    const said = document.createElement("p");
    said.className = "selected";
    said.role = "status";
    said.append(link);
    plot.after(said);
  }

  document.addEventListener("chart", ({ target: plot, detail: figure }) => {
    if (!figure.ways) return;
    linked(plot, figure);
    plot.classList.add("ways");
    plot.on("plotly_click", ({ points: [point] }) => location.assign(way(figure.ways, point.customdata)));
    if (!figure.ways.y) return;
    plot.on("plotly_selected", (event) => selected(plot, figure.ways, event));
    plot.on("plotly_deselect", () => selected(plot, figure.ways, null));
  });
})();
