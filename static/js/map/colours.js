// By what points are coloured. Each colour is a number of the theme's ramp or of its set, and a trace of the plot: colours
// given point by point would be parsed one by one.

const KINDS = 11; // colours that tell clusters and SAEs apart
export const RAMP = 10;

// The theme's colours as WebGL can read them: the browser computes light-dark().
function resolved(names) {
  const probe = document.body.appendChild(document.createElement("span"));
  const found = names.map((name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  });
  probe.remove();
  return found;
}

export const palette = () => ({
  ramp: resolved(Array.from({ length: RAMP }, (_, i) => `--ramp-${i}`)),
  kinds: resolved(Array.from({ length: KINDS }, (_, i) => `--kind-${i}`)),
  none: resolved(["--none"])[0],
  ink: resolved(["--ink"])[0],
  paper: resolved(["--paper"])[0],
  accent: resolved(["--accent"])[0],
});

// A bar among so many, spread over the whole ramp.
export const onRamp = (bar, bars) => (bars < 2 ? RAMP - 1 : Math.round((bar * (RAMP - 1)) / (bars - 1)));

// Of a colouring: how many groups there are, to which a point belongs (−1: to none), and the colours of groups.
export function colouring(name, { bars, marks }) {
  if (name.startsWith("cluster-")) {
    const grain = Number(name.slice(8));
    const of = ({ clusters }, i) => (clusters[grain][i] ? (clusters[grain][i] - 1) % KINDS : -1);
    return { groups: KINDS, of, colours: ({ kinds }) => kinds };
  }
  if (name === "score") {
    const of = ({ part, index }, i) => marks.get(part[i] * 2 ** 32 + index[i]) ?? -1;
    return { groups: bars - 1, of, colours: ({ ramp }) => Array.from({ length: bars - 1 }, (_, bar) => ramp[onRamp(bar, bars - 1)]) };
  }
  if (name === "labelled") {
    const of = ({ part, index }, i) => (marks.has(part[i] * 2 ** 32 + index[i]) ? 0 : -1);
    return { groups: 1, of, colours: ({ kinds }) => [kinds[0]] };
  }
  if (name === "sae") return { groups: KINDS, of: ({ part }, i) => part[i] % KINDS, colours: ({ kinds }) => kinds };
  const colours = ({ ramp }) => Array.from({ length: bars }, (_, bar) => ramp[onRamp(bar, bars)]);
  return { groups: bars, of: (points, i) => points[name][i], colours };
}

// Each swatch of a legend in the colour that it stands for.
export function swatch(legend, { ramp, kinds, none }) {
  const swatches = legend.querySelectorAll("[data-swatch]");
  const name = legend.dataset.legend;
  const bars = Number(legend.dataset.ramp) - (name === "score");
  const last = name === "score" ? String(bars) : name.startsWith("cluster-") || name === "labelled" ? "1" : "";
  for (const each of swatches) {
    const place = each.dataset.swatch;
    if (place === "none" || place === last) each.style.background = none;
    else each.style.background = bars ? ramp[onRamp(Number(place), bars)] : kinds[Number(place) % KINDS];
  }
}
