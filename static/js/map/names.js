// Names of clusters: coarse ones of the whole, finer ones as one comes nearer, as many as do not cover each other.

const MOST = 28;
const HEIGHT = 22; // pixels that a name takes
const CHARACTER = 7;
const FINER = [0, 1.2, 2.6]; // doublings from which each grain is named
const LARGE = 90; // pixels that a cluster's share of the map should take before it is named

export class Names {
  constructor(element, onChoose) {
    this.element = element;
    this.grains = [];
    this.shown = []; // { button, x, y }
    element.addEventListener("click", (event) => {
      const button = event.target.closest("[data-cluster]");
      if (button) onChoose(button.dataset.cluster);
    });
  }

  async load(address) {
    const answer = await fetch(address);
    if (!answer.ok) return; // a map without names is one all the same
    this.grains = (await answer.json()).grains;
  }

  // The names for where one has come to rest.
  place(view, n) {
    const last = Math.min(this.grains.length, FINER.length) - 1;
    const grain = Math.max(0, Math.min(last, FINER.findLastIndex((from) => view.doublings >= from)));
    const taken = [];
    const chosen = [];
    for (const [number, [x, y, count, name]] of (this.grains[grain] ?? []).entries()) {
      const [px, py] = view.toScreen(x, y);
      if (chosen.length >= MOST) break;
      if (px < 0 || py < 0 || px > view.width || py > view.height) continue;
      if (view.scale * Math.sqrt(count / n) < LARGE) break; // the rest are smaller
      const text = name.length > 28 ? `${name.slice(0, 27)}…` : name;
      const half = (text.length * CHARACTER) / 2 + 8;
      const box = [px - half, py - HEIGHT / 2, px + half, py + HEIGHT / 2];
      if (taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) continue;
      taken.push(box);
      chosen.push({ x, y, text, name, count, cluster: `${grain}-${number}` });
    }
    this.shown = chosen.map(({ x, y, text, name, count, cluster }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.tabIndex = -1; // the list of clusters below is for keys
      button.dataset.cluster = cluster;
      button.title = `${name}: ${count.toLocaleString("en")} features`;
      button.textContent = text;
      button.dir = "auto";
      return { button, x, y };
    });
    this.element.replaceChildren(...this.shown.map(({ button }) => button));
    this.follow(view);
  }

  // Along with what moves.
  follow(view) {
    for (const { button, x, y } of this.shown) {
      const [px, py] = view.toScreen(x, y);
      button.style.transform = `translate(${px}px, ${py}px) translate(-50%, -50%)`;
    }
  }
}
