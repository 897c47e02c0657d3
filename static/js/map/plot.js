// Points drawn by plotly, for one view. Between two drawings nothing is laid out: what was drawn is moved as it is.

const FEW = 400; // points, of which each can be large
const SIZES = [3, 8]; // pixels across, of very many and of few
const FAINT = 0.12; // opacity of what is not meant

// It is large, and wanted once there are points: whatever else a map shows does not wait for it.
let library = null;
function plotly() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = document.querySelector("[data-plotly]").dataset.plotly;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      library = null;
      script.remove();
      reject(new Error("the library that draws them did not come"));
    };
    document.head.append(script);
  });
  return library;
}

// Asked once: a browser allows few contexts, and the first takes a moment to come.
let webgl = null;
export function drawsPoints() {
  const context = webgl === null && document.createElement("canvas").getContext("webgl");
  webgl ??= Boolean(context);
  if (context) context.getExtension("WEBGL_lose_context")?.loseContext();
  return webgl;
}

const axis = (range) => ({ range, visible: false, fixedrange: true });

export class Plot {
  constructor(element) {
    this.element = element;
    this.drawn = null; // the view
  }

  // Its library takes a good part of a second to run, which what is drawn plainly should not wait for.
  prepare() {
    plotly().catch(() => {}); // whoever draws is told
  }

  // `meant`, of a point, says whether it is among those that are meant; null: all are.
  // Nothing is drawn where that is `given` up on meanwhile.
  async draw(points, view, look, meant, given) {
    const library = await plotly();
    if (given()) return;
    const traces = this.traces(points, look, meant);
    const [left, top, right, bottom] = view.box;
    const layout = {
      width: view.width,
      height: view.height,
      margin: { l: 0, r: 0, t: 0, b: 0 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      showlegend: false,
      hovermode: false,
      dragmode: false,
      xaxis: axis([left, right]),
      yaxis: axis([bottom, top]),
    };
    await library.react(this.element, traces, layout, { displayModeBar: false, plotGlPixelRatio: 1 });
    this.drawn = view.copy();
  }

  traces(points, { groups, of, colours, palette }, meant) {
    const [n, fills] = [points.n, colours(palette)];
    const group = new Int16Array(n);
    const counts = new Uint32Array(groups + 2); // those of no group first, then those that are not meant
    for (let i = 0; i < n; i += 1) {
      group[i] = meant && !meant(i) ? groups + 1 : of(points, i) + 1;
      counts[Math.min(group[i], groups + 1)] += 1;
    }
    const xs = Array.from(counts, (count) => new Float64Array(count));
    const ys = Array.from(counts, (count) => new Float64Array(count));
    const at = new Uint32Array(groups + 2);
    for (let i = 0; i < n; i += 1) {
      const to = group[i];
      xs[to][at[to]] = points.x[i];
      ys[to][at[to]++] = points.y[i];
    }
    const size = Math.max(SIZES[0], Math.min(SIZES[1], SIZES[1] - 0.8 * Math.log2(Math.max(1, n / FEW))));
    const trace = (to, color, opacity) => ({
      type: "scattergl",
      mode: "markers",
      x: xs[to],
      y: ys[to],
      hoverinfo: "skip",
      marker: { color, size, opacity, line: { width: 0 } },
    });
    // What is not meant lies beneath, and of the rest the many beneath the few.
    const order = Array.from({ length: groups + 1 }, (_, to) => to).sort((one, other) => counts[other] - counts[one]);
    const seen = [groups + 1, ...order].filter((to) => counts[to]);
    return seen.map((to) =>
      to === groups + 1 ? trace(to, palette.none, FAINT) : trace(to, to ? fills[to - 1] : palette.none, to ? 0.85 : 0.5),
    );
  }
}
