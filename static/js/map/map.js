// A map of features: density first, then points for where one looks. While it moves, what was drawn is moved as it is,
// and a fair sample drawn plainly where too little of it is left; at rest plotly draws all there is room for.

import { corners, outline, read, written } from "./address.js";
import { meant, simplified } from "./area.js";
import { colouring, palette, swatch } from "./colours.js";
import { Density } from "./density.js";
import { gestures } from "./gestures.js";
import { Names } from "./names.js";
import { Over } from "./over.js";
import { Picking } from "./picking.js";
import { drawsPoints, Plot } from "./plot.js";
import { Quick } from "./quick.js";
import { placeOf, Side } from "./side.js";
import { Tiles } from "./tiles.js";
import { View } from "./view.js";

const AT_REST = 80_000; // points
const MOVING = 20_000;
const REST = 140; // milliseconds without a move
const AGAIN = 200; // milliseconds between two samples while it moves
const LEFT = 0.55; // of the view, that what was drawn must still cover
const HOVER = 60; // milliseconds before a card is asked for
const TYPED = 250; // milliseconds after the last key
const CARDS = 200; // that are kept
const NEAR = 3; // doublings, at least, at which a feature is looked at

class FeatureMap {
  constructor(section) {
    this.section = section;
    this.address = section.dataset.address;
    this.parts = JSON.parse(section.dataset.parts);
    this.stage = section.querySelector(".stage");
    this.leads = "first" in section.dataset; // whose state is the address's
    const leftOut = (section.dataset.leftOut ?? "").split(" ");
    const given = this.leads ? read(leftOut) : { at: null, colour: null, q: "", feature: null, area: {} };
    this.view = new View(this.stage.clientWidth, this.stage.clientHeight, given.at ?? undefined);
    this.tiles = new Tiles(section.dataset.tiles);
    this.density = new Density(this.stage.querySelector(".density"), this.tiles);
    this.plot = new Plot(this.stage.querySelector(".points"));
    this.quick = new Quick(this.stage.querySelector(".quick"));
    this.over = new Over(this.stage.querySelector(".over"));
    this.names = new Names(this.stage.querySelector(".names"), (cluster) => this.select({ cluster }));
    this.side = new Side(section.querySelector(".beside-map"), {
      onClose: (place) => this.close(place),
      onGo: (key, place) => this.go(key, place),
      onUnfold: (place) => this.look(place),
    });
    this.find = section.querySelector("[data-find]");
    this.colour = section.querySelector("[data-colour]");
    this.card = this.stage.querySelector(".card");
    this.minimap = this.stage.querySelector(".minimap");
    this.palette = palette();
    this.cards = new Map();
    this.area = given.area;
    this.marks = new Set();
    this.turn = 0;
    this.begin(given);
  }

  begin(given) {
    this.over.resize(this.view.width, this.view.height);
    this.placeDensity();
    this.hands = gestures(this.stage, this.does());
    this.controls();
    const options = [...this.colour.options].map(({ value }) => value);
    if (options.includes(given.colour)) this.colour.value = given.colour;
    this.usual = this.colour.options[0].value;
    this.names.load(`${this.address}clusters/`).then(() => this.names.place(this.view, this.tiles.n ?? 1));
    const first = this.density.first;
    const seen = () => performance.mark("map-density");
    if (first.complete) seen();
    else first.addEventListener("load", seen, { once: true });
    this.webgl = drawsPoints();
    if (!this.webgl) {
      this.say(`Without WebGL this browser draws ${MOVING.toLocaleString("en")} points at most; their density is all of them.`);
    }
    this.recolour().then(() => this.rest());
    if (given.q) this.search((this.find.value = given.q));
    if (given.feature) this.open(given.feature);
    if (Object.keys(given.area).length) this.select(given.area);
    this.frame();
  }

  controls() {
    const on = (selector, act) => this.section.querySelector(selector).addEventListener("click", act);
    on("[data-nearer]", () => this.does().zoom(0.7));
    on("[data-further]", () => this.does().zoom(-0.7));
    on("[data-whole]", () => this.to([0.5, 0.5, 0]));
    for (const button of this.section.querySelectorAll("[data-tool]")) {
      button.addEventListener("click", () => this.use(button.dataset.tool));
    }
    this.colour.addEventListener("change", () => this.recolour().then(() => this.rest()));
    this.find.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.search(this.find.value), TYPED);
    });
    this.find.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      const hit = this.side.places.found.querySelector("[data-go]");
      if (hit) this.go(hit.dataset.go, placeOf(hit));
    });
    for (const button of this.stage.querySelectorAll(".legend [data-area]")) {
      button.addEventListener("click", () => {
        const [name, value] = button.dataset.area.split("=");
        if (this.area[name] === value) this.close("selection");
        else this.select({ [name]: value });
      });
    }
    this.minimap.addEventListener("pointerdown", (event) => this.toMini(event));
    this.minimap.addEventListener("pointermove", (event) => event.buttons && this.toMini(event));
    new ResizeObserver(() => this.resized()).observe(this.stage);
    document.addEventListener("theme", () => {
      this.palette = palette();
      this.recolour().then(() => this.rest());
    });
    window.addEventListener("popstate", () => location.reload());
    document.addEventListener("map-feature", ({ detail }) => detail.from !== this && this.follow(detail));
    document.addEventListener("map-selected", ({ detail }) => detail.from !== this && this.followSelected(detail));
  }

  // What hands do.
  does() {
    return {
      move: (dx, dy) => {
        this.view.move(dx, dy);
        this.moved();
      },
      zoom: (by, ...place) => {
        this.view.zoom(by, ...place);
        this.moved();
      },
      point: (place, event) => this.point(place, event),
      left: () => this.unpoint(),
      click: (place, event) => this.click(place, event),
      begin: (kind, place) => {
        this.drawn = { kind, from: this.view.toMap(...place) };
        this.over.outline = [this.drawn.from];
        this.over.open = kind === "lasso";
      },
      draw: (place) => this.drawTo(this.view.toMap(...place)),
      end: (moved) => this.drawEnd(moved),
      keyed: () => {
        this.over.crosshair = true;
      },
      enter: () => this.enter(),
      escape: () => {
        for (const place of ["opened", "selection", "found"]) this.close(place);
      },
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

  moved() {
    this.unpoint();
    this.frame();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.rest(), REST);
    if (!this.shown?.drawn || performance.now() - (this.drewAt ?? 0) < AGAIN) return;
    if (this.covered(this.shown.drawn) < LEFT) this.draw(MOVING);
  }

  // How much of the view lies in what was drawn, and how alike they are in size.
  covered(drawn) {
    const [left, top, right, bottom] = this.view.box;
    const [drawnLeft, drawnTop, drawnRight, drawnBottom] = drawn.box;
    const width = Math.max(0, Math.min(right, drawnRight) - Math.max(left, drawnLeft));
    const height = Math.max(0, Math.min(bottom, drawnBottom) - Math.max(top, drawnTop));
    const alike = this.view.scale / drawn.scale;
    return ((width * height) / ((right - left) * (bottom - top))) * Math.min(1, 1.8 / alike);
  }

  // Everything that follows the view, once a frame.
  frame() {
    if (this.framing) return;
    this.framing = requestAnimationFrame(() => {
      this.framing = 0;
      const { view } = this;
      this.placeShown();
      if (this.densityAt) this.density.element.style.transform = view.transformOf(this.densityAt).css;
      this.over.draw(view, this.palette);
      this.names.follow(view);
      this.placeMinimap();
    });
  }

  placeDensity() {
    this.densityAt = this.view.copy();
    this.density.place(this.view);
    this.density.element.style.transform = "";
  }

  rest() {
    this.placeDensity();
    this.names.place(this.view, this.tiles.n ?? 1);
    this.write();
    return this.draw(AT_REST);
  }

  // Points come tile by tile. The first, and those of a sample, are drawn plainly; plotly draws once, at rest.
  async draw(budget) {
    const turn = (this.turn += 1);
    const view = this.view.copy();
    const given = () => turn !== this.turn;
    const rests = budget === AT_REST;
    this.drewAt = performance.now();
    try {
      const some = (points) => {
        if (this.shown !== this.plot && points.n <= 2 * MOVING) this.sketch(points, view);
      };
      const points = await this.tiles.within(view.box, this.webgl ? budget : MOVING, some, given);
      if (!points) return;
      if (!rests || !this.webgl) this.sketch(points, view);
      if (!rests) return;
      if (this.webgl) {
        await this.plot.draw(points, view, this.colouring, this.palette, this.meant(points), given);
        if (given()) return;
        this.show(this.plot, points);
      }
      this.picking = new Picking(points, view);
      this.stage.dataset.points = String(points.n);
      this.stage.dataset.complete = String(points.whole);
      performance.mark("map-rest");
      this.stage.dispatchEvent(new Event("map-rest", { bubbles: true }));
    } catch (why) {
      if (!given()) this.say(`The points did not come: ${why.message}.`, () => this.rest());
    }
  }

  sketch(points, view) {
    this.quick.draw(points, view, this.colouring, this.palette, this.meant(points));
    this.show(this.quick, points);
    if (this.webgl) requestAnimationFrame(() => this.plot.prepare());
  }

  show(layer, points) {
    this.shown = layer;
    this.points = points;
    this.plot.element.style.visibility = layer === this.plot ? "" : "hidden";
    this.quick.canvas.hidden = layer !== this.quick;
    this.placeShown();
    if (!performance.getEntriesByName("map-points").length) performance.mark("map-points");
  }

  placeShown() {
    const layer = this.shown;
    const element = layer === this.plot ? layer?.element : layer?.canvas;
    if (element) element.style.transform = this.view.transformOf(layer.drawn).css;
  }

  meant(points) {
    return this.linked ? (i) => this.linked.has(points.part[i] * 2 ** 32 + points.index[i]) : meant(this.area, points);
  }

  resized() {
    const { clientWidth, clientHeight } = this.stage;
    if (clientWidth === this.view.width && clientHeight === this.view.height) return;
    this.view.resize(clientWidth, clientHeight);
    this.over.resize(clientWidth, clientHeight);
    this.moved();
  }

  to(at) {
    this.view.put(at);
    this.moved();
  }

  // Colours

  async recolour() {
    const name = this.colour.value;
    let shown = null;
    for (const legend of this.stage.querySelectorAll("[data-legend]")) {
      legend.hidden = legend.dataset.legend !== name;
      if (!legend.hidden) shown = legend;
    }
    if (name === "labelled") await this.loadMarks();
    this.colouring = colouring(name, { bars: Number(shown?.dataset.ramp ?? 0), marks: this.marks });
    if (shown) swatch(shown, this.palette);
  }

  async loadMarks() {
    const answer = await fetch(`${this.address}labelled/`);
    if (!answer.ok) return;
    const pairs = new Uint32Array(await answer.arrayBuffer());
    this.marks.clear();
    for (let i = 0; i < pairs.length; i += 2) this.marks.add(pairs[i] * 2 ** 32 + pairs[i + 1]);
  }

  // Pointing

  at(place) {
    const number = this.picking?.nearest(...place) ?? -1;
    if (number < 0) return null;
    const { x, y, part, index } = this.picking.points;
    return { key: `${part[number]}-${index[number]}`, x: x[number], y: y[number], near: [], family: [] };
  }

  still() {
    const view = this.picking?.view;
    return view && view.at.every((number, i) => number === this.view.at[i]) && view.width === this.view.width;
  }

  point(place) {
    if (!this.still()) return;
    const found = this.at(place);
    if (found?.key === this.over.pointed?.key) return;
    this.unpoint();
    if (!found) return;
    this.look(found);
    this.stage.classList.add("on-point");
    this.hovering = setTimeout(() => this.showCard(found), HOVER);
  }

  look(found) {
    this.over.pointed = found;
    this.frame();
    this.tell("map-feature", { ...this.named(found.key), lasting: false });
  }

  unpoint() {
    clearTimeout(this.hovering);
    if (!this.over.pointed) return;
    this.over.pointed = null;
    this.card.hidden = true;
    this.stage.classList.remove("on-point");
    this.frame();
  }

  async showCard(found) {
    const text = await this.cardOf(found.key);
    if (!text || this.over.pointed !== found) return;
    this.card.innerHTML = text; // our own server's, which escapes what people wrote
    const { near, family } = placeOf(this.card.firstElementChild);
    Object.assign(found, { near, family });
    this.card.hidden = false;
    const [px, py] = this.view.toScreen(found.x, found.y);
    const { offsetWidth, offsetHeight } = this.card;
    const left = px + 16 + offsetWidth > this.view.width ? px - 16 - offsetWidth : px + 16;
    const top = Math.min(Math.max(8, py - offsetHeight / 2), this.view.height - offsetHeight - 8);
    this.card.style.transform = `translate(${Math.max(8, left)}px, ${top}px)`;
    this.frame();
  }

  async cardOf(key) {
    if (!this.cards.has(key)) {
      const answer = await fetch(`${this.address}features/${key.replace("-", "/")}/card/`);
      if (!answer.ok) return "";
      this.cards.set(key, await answer.text());
      if (this.cards.size > CARDS) this.cards.delete(this.cards.keys().next().value);
    }
    return this.cards.get(key);
  }

  click(place, event) {
    this.over.crosshair = false;
    const found = this.still() ? this.at(place) : null;
    if (!found) return;
    if (event.ctrlKey || event.metaKey) window.open(this.pageOf(found.key), "_blank", "noopener");
    else this.open(found.key, found);
  }

  enter() {
    if (this.over.opened && this.entered === this.over.opened.key) {
      location.assign(this.pageOf(this.entered));
      return;
    }
    const { width, height } = this.view;
    const number = this.picking?.nearest(width / 2, height / 2, Math.min(width, height) / 2) ?? -1;
    if (number < 0) return;
    const { part, index } = this.picking.points;
    this.entered = `${part[number]}-${index[number]}`;
    this.open(this.entered);
  }

  pageOf(key) {
    const [part, index] = key.split("-");
    return `/saes/${this.parts[Number(part)]}/features/${index}/`;
  }

  // Opened, selected, found

  async open(key, place = null) {
    this.over.opened = place;
    this.frame();
    const shown = await this.side.show("opened", `${this.address}features/${key.replace("-", "/")}/panel/`);
    if (!shown) return;
    this.over.opened = placeOf(shown);
    this.tell("map-feature", { ...this.named(key), lasting: true });
    this.write();
    this.frame();
  }

  go(key, place) {
    this.view.put([place.x, place.y, Math.max(this.view.doublings, Math.min(NEAR, Math.log2(this.tiles.n / 500)))]);
    this.moved();
    this.open(key, place);
  }

  async select(area) {
    this.area = area;
    this.over.outline = outline(area);
    this.over.open = false;
    for (const button of this.stage.querySelectorAll(".legend [data-area]")) {
      const [name, value] = button.dataset.area.split("=");
      button.setAttribute("aria-pressed", String(area[name] === value));
    }
    this.rest().then(() => this.tellSelected());
    const asked = performance.now();
    if (await this.side.show("selection", `${this.address}selection/?${new URLSearchParams(area)}`)) {
      performance.measure("map-selection", { start: asked, end: performance.now() });
      this.section.dataset.selections = String(performance.getEntriesByName("map-selection").length);
    }
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
    if (place === "selection" && (Object.keys(this.area).length || this.over.outline.length)) {
      this.area = {};
      this.over.outline = [];
      for (const button of this.stage.querySelectorAll(".legend [data-area]")) button.setAttribute("aria-pressed", "false");
      this.rest().then(() => this.tellSelected());
    }
    this.write();
    this.frame();
  }

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

  // Other maps of the page

  named(key) {
    const [part, index] = key.split("-").map(Number);
    return { sae: this.parts[part], index };
  }

  tell(name, detail) {
    document.dispatchEvent(new CustomEvent(name, { detail: { ...detail, from: this } }));
  }

  async follow({ sae, index, lasting }) {
    const part = this.parts.indexOf(sae);
    if (part < 0) return;
    const answer = await fetch(`${this.address}features/${part}/${index}/place/`);
    if (!answer.ok) return;
    const [x, y] = (await answer.text()).split(",").map(Number);
    const place = { key: `${part}-${index}`, x, y, near: [], family: [] };
    if (lasting) this.over.opened = place;
    else this.over.pointed = place;
    this.frame();
  }

  tellSelected() {
    const { points } = this;
    if (document.querySelectorAll(".map").length < 2 || !points) return;
    const chosen = meant(this.area, points);
    const saes = this.parts.map(() => new Set());
    for (let i = 0; chosen && i < points.n; i += 1) if (chosen(i)) saes[points.part[i]].add(points.index[i]);
    this.tell("map-selected", { saes: chosen ? Object.fromEntries(this.parts.map((sae, i) => [sae, saes[i]])) : null });
  }

  followSelected({ saes }) {
    this.linked = saes && new Set();
    for (const [part, sae] of this.parts.entries()) {
      for (const index of saes?.[sae] ?? []) this.linked.add(part * 2 ** 32 + index);
    }
    this.section.dataset.linked = String(this.linked?.size ?? "");
    this.rest();
  }

  // What else there is

  placeMinimap() {
    const { view } = this;
    this.minimap.hidden = view.doublings < 0.8;
    if (this.minimap.hidden) return;
    const clip = (value) => Math.min(1, Math.max(0, value));
    const [left, top, right, bottom] = view.box.map(clip);
    const { style } = this.minimap.querySelector("i");
    [style.left, style.top] = [`${100 * left}%`, `${100 * top}%`];
    [style.width, style.height] = [`${100 * (right - left)}%`, `${100 * (bottom - top)}%`];
  }

  toMini(event) {
    const box = this.minimap.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    this.to([x, y, this.view.doublings]);
  }

  write() {
    if (!this.leads) return;
    const colour = this.colour.value === this.usual ? null : this.colour.value;
    const state = { at: this.view.at, colour, q: this.q, feature: this.over.opened?.key ?? null, area: this.area };
    const query = written(state);
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
