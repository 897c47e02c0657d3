// A map of features: what one does with it, and what is shown of it then.

import { corners, outline, read, written } from "./address.js";
import { meant, simplified } from "./area.js";
import { Card } from "./card.js";
import { Fellows } from "./fellows.js";
import { gestures } from "./gestures.js";
import { Layers, MOVING } from "./layers.js";
import { Legend } from "./legend.js";
import { Minimap } from "./minimap.js";
import { Names } from "./names.js";
import { Over } from "./over.js";
import { placeOf, Side } from "./side.js";
import { Tiles } from "./tiles.js";
import { View } from "./view.js";

const WHOLE = [0.5, 0.5, 0];
const REST = 140; // milliseconds without a move
const TYPED = 250; // milliseconds after the last key
const STEP = 0.7; // doublings
const NEAR = 3; // doublings, at least, at which a feature is looked at
const PLACES = ["opened", "selection", "found"];

class FeatureMap {
  constructor(section) {
    this.section = section;
    this.address = section.dataset.address;
    this.stage = section.querySelector(".stage");
    this.leads = "first" in section.dataset; // whose state is the address's
    const given = this.given();
    this.area = given.area;
    this.q = given.q;
    this.view = new View(this.stage.clientWidth, this.stage.clientHeight, given.at ?? WHOLE);
    this.tiles = new Tiles(section.dataset.tiles);
    this.legend = new Legend(section, {
      chosen: given.colour,
      onChange: () => this.rest(),
      onArea: (name, value) => (this.area[name] === value ? this.close("selection") : this.select({ [name]: value })),
    });
    this.layers = new Layers(this.stage, this.tiles, () => this.look());
    this.over = new Over(this.stage.querySelector(".over"));
    this.names = new Names(this.stage.querySelector(".names"), (cluster) => this.select({ cluster }));
    this.card = new Card(this.stage.querySelector(".card"), this.address);
    this.minimap = new Minimap(this.stage.querySelector(".minimap"), (x, y) => this.to([x, y, this.view.doublings]));
    this.fellows = new Fellows(section, {
      onFeature: (place, lasting) => {
        this.over[lasting ? "opened" : "pointed"] = place;
        this.frame();
      },
      onSelected: () => this.rest(),
    });
    this.side = new Side(section.querySelector(".beside-map"), {
      onClose: (place) => this.close(place),
      onGo: (key, place) => this.go(key, place),
      onUnfold: (place) => this.mark(place),
    });
    this.hands = gestures(this.stage, this.does());
    this.find = section.querySelector("[data-find]");
    this.controls();
    this.begin(given);
  }

  given() {
    const leftOut = (this.section.dataset.leftOut ?? "").split(" ");
    return this.leads ? read(leftOut) : { at: null, colour: null, q: "", feature: null, area: {} };
  }

  begin(given) {
    this.over.resize(this.view.width, this.view.height);
    this.names.load(`${this.address}clusters/`).then(() => this.names.place(this.view, this.tiles.n ?? 1));
    if (!this.layers.webgl) {
      this.say(`Without WebGL this browser draws ${MOVING.toLocaleString("en")} points at most; their density is all of them.`);
    }
    if (given.q) this.search((this.find.value = given.q));
    if (given.feature) this.open(given.feature);
    if (Object.keys(given.area).length) this.select(given.area);
    else this.rest();
    this.frame();
  }

  controls() {
    const on = (selector, act) => this.section.querySelector(selector).addEventListener("click", act);
    on("[data-nearer]", () => this.zoom(STEP));
    on("[data-further]", () => this.zoom(-STEP));
    on("[data-whole]", () => this.to(WHOLE));
    for (const button of this.section.querySelectorAll("[data-tool]")) {
      button.addEventListener("click", () => this.use(button.dataset.tool));
    }
    this.find.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.search(this.find.value), TYPED);
    });
    this.find.addEventListener("keydown", (event) => {
      const hit = event.key === "Enter" && this.side.places.found.querySelector("[data-go]");
      if (hit) this.go(hit.dataset.go, placeOf(hit));
    });
    new ResizeObserver(() => this.resized()).observe(this.stage);
    window.addEventListener("popstate", () => location.reload());
  }

  // What hands do.
  does() {
    return {
      move: (dx, dy) => {
        this.view.move(dx, dy);
        this.moved();
      },
      zoom: (...how) => this.zoom(...how),
      point: (place) => this.point(place),
      left: () => this.unpoint(),
      click: (place, event) => this.click(place, event),
      begin: (kind, place) => {
        this.drawn = { kind, from: this.view.toMap(...place) };
        this.over.outline = [this.drawn.from];
        this.over.open = kind === "lasso";
      },
      draw: (place) => this.drawTo(this.view.toMap(...place)),
      end: (moved) => this.drawEnd(moved),
      keyed: () => (this.over.crosshair = true),
      enter: () => this.enter(),
      escape: () => PLACES.forEach((place) => this.close(place)),
    };
  }

  use(tool) {
    this.hands.use(tool);
    for (const button of this.section.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    }
    this.stage.dataset.tool = tool;
  }

  // Moving

  zoom(by, ...place) {
    this.view.zoom(by, ...place);
    this.moved();
  }

  to(at) {
    this.view.put(at);
    this.moved();
  }

  moved() {
    this.unpoint();
    this.frame();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.rest(), REST);
    this.layers.moved(this.view);
  }

  // Everything that follows the view, once a frame.
  frame() {
    this.framing ??= requestAnimationFrame(() => {
      this.framing = null;
      this.layers.follow(this.view);
      this.over.draw(this.view, this.legend.palette);
      this.names.follow(this.view);
      this.minimap.follow(this.view);
    });
  }

  async rest() {
    this.names.place(this.view, this.tiles.n ?? 1);
    this.write();
    try {
      await this.layers.rest(this.view);
    } catch (why) {
      this.say(`The points did not come: ${why.message}.`, () => this.rest());
    }
  }

  async look() {
    const { palette } = this.legend;
    return { ...(await this.legend.coloured), palette, meant: (points) => this.meant(points) };
  }

  meant(points) {
    return this.fellows.meant(points) ?? meant(this.area, points);
  }

  resized() {
    const { clientWidth, clientHeight } = this.stage;
    if (clientWidth === this.view.width && clientHeight === this.view.height) return;
    this.view.resize(clientWidth, clientHeight);
    this.over.resize(clientWidth, clientHeight);
    this.moved();
  }

  // Pointing

  point(place) {
    if (!this.layers.still(this.view)) return;
    const found = this.layers.nearest(...place);
    if (found?.key === this.over.pointed?.key) return;
    this.unpoint();
    if (!found) return;
    this.mark(found);
    this.stage.classList.add("on-point");
    this.card.showSoon(found, this.view, ({ near, family }) => {
      Object.assign(found, { near, family });
      this.frame();
    });
  }

  mark(found) {
    this.over.pointed = found;
    this.frame();
    this.fellows.feature(found.key, false);
  }

  unpoint() {
    this.card.hide();
    if (!this.over.pointed) return;
    this.over.pointed = null;
    this.stage.classList.remove("on-point");
    this.frame();
  }

  click(place, event) {
    this.over.crosshair = false;
    const found = this.layers.still(this.view) && this.layers.nearest(...place);
    if (!found) return;
    if (event.ctrlKey || event.metaKey) window.open(this.pageOf(found.key), "_blank", "noopener");
    else this.open(found.key, found);
  }

  // Opens what lies in the middle, and once that is opened its page.
  enter() {
    if (this.over.opened && this.entered === this.over.opened.key) {
      location.assign(this.pageOf(this.entered));
      return;
    }
    const { width, height } = this.view;
    const found = this.layers.nearest(width / 2, height / 2, Math.min(width, height) / 2);
    if (!found) return;
    this.entered = found.key;
    this.open(found.key, found);
  }

  pageOf(key) {
    const [part, index] = key.split("-");
    return `/saes/${this.fellows.parts[Number(part)]}/features/${index}/`;
  }

  // Opened, selected, found

  async open(key, place = null) {
    this.over.opened = place;
    this.frame();
    const shown = await this.side.show("opened", `${this.address}features/${key.replace("-", "/")}/panel/`);
    if (!shown) return;
    this.over.opened = placeOf(shown);
    this.fellows.feature(key, true);
    this.write();
    this.frame();
  }

  go(key, place) {
    const near = Math.min(NEAR, Math.log2(this.tiles.n / 500));
    this.to([place.x, place.y, Math.max(this.view.doublings, near)]);
    this.open(key, place);
  }

  async select(area) {
    this.area = area;
    this.over.outline = outline(area);
    this.over.open = false;
    this.legend.press(area);
    this.rest().then(() => this.tellSelected());
    const start = performance.now();
    if (await this.side.show("selection", `${this.address}selection/?${new URLSearchParams(area)}`)) {
      performance.measure("map-selection", { start, end: performance.now() });
      this.section.dataset.selections = String(performance.getEntriesByName("map-selection").length);
    }
  }

  tellSelected() {
    const { points } = this.layers;
    if (points) this.fellows.selected(points, meant(this.area, points));
  }

  async search(q) {
    this.q = q.trim();
    if (!this.q) {
      this.close("found");
      return;
    }
    const shown = await this.side.show("found", `${this.address}search/?${new URLSearchParams({ q: this.q })}`);
    if (!shown) return;
    this.over.hits = (shown.dataset.hits || "").split(";").filter(Boolean).map((pair) => pair.split(",").map(Number));
    this.stage.classList.toggle("dimmed", this.over.hits.length > 0);
    this.write();
    this.frame();
  }

  close(place) {
    this.side.clear(place);
    if (place === "opened") this.over.opened = null;
    if (place === "found") {
      this.over.hits = [];
      this.q = this.find.value = "";
      this.stage.classList.remove("dimmed");
    }
    if (place === "selection" && Object.keys(this.area).length) {
      this.area = {};
      this.over.outline = [];
      this.legend.press(this.area);
      this.rest().then(() => this.tellSelected());
    }
    this.write();
    this.frame();
  }

  // Drawing around

  drawTo(place) {
    const { kind, from } = this.drawn;
    if (kind === "lasso") this.over.outline.push(place);
    else this.over.outline = [from, [place[0], from[1]], place, [from[0], place[1]]];
    this.frame();
  }

  drawEnd(moved) {
    const { kind, from } = this.drawn;
    const ends = this.over.outline;
    if (!moved || ends.length < 3) {
      this.over.outline = outline(this.area);
      this.frame();
      return;
    }
    if (kind === "lasso") this.select({ lasso: corners(simplified(ends, this.view)) });
    else {
      const [x, y] = [0, 1].map((axis) => [from[axis], ends[2][axis]].sort((one, other) => one - other));
      this.select({ box: [x[0], y[0], x[1], y[1]].map((number) => Number(number.toFixed(6))).join(",") });
    }
    this.use("move");
  }

  // What is said

  write() {
    if (!this.leads) return;
    const { q, area } = this;
    const feature = this.over.opened?.key ?? null;
    const query = written({ at: this.view.at, colour: this.legend.written, q, feature, area });
    if (query !== location.search) history.replaceState(null, "", `${location.pathname}${query}`);
  }

  say(message, again = null) {
    const said = this.stage.querySelector(".map-says");
    said.textContent = message;
    if (!again) return;
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "quiet", textContent: "Try again" });
    button.addEventListener("click", () => {
      said.replaceChildren();
      again();
    });
    said.append(" ", button);
  }
}

for (const section of document.querySelectorAll(".map")) new FeatureMap(section);
