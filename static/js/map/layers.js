// What lies under what one does: density, and points for where one looks. In motion what was drawn is moved as it is, and
// a fair sample drawn plainly where too little of it is left; at rest plotly draws all there is room for.

import { Density } from "./density.js";
import { Picking } from "./picking.js";
import { drawsPoints, Plot } from "./plot.js";
import { Quick } from "./quick.js";

const AT_REST = 80_000; // points
export const MOVING = 20_000;
const AGAIN = 200; // milliseconds between two samples in motion
const LEFT = 0.55; // of the view, that what was drawn must still cover
const NEARER = 1.8; // times its size, up to which what was drawn is as good as new

export class Layers {
  // `look` tells, once that is known, by what points are coloured, in which colours, and which of them are meant.
  constructor(stage, tiles, look) {
    this.stage = stage;
    this.tiles = tiles;
    this.look = look;
    this.density = new Density(stage.querySelector(".density"), tiles);
    this.plot = new Plot(stage.querySelector(".points"));
    this.quick = new Quick(stage.querySelector(".quick"));
    this.webgl = drawsPoints();
    this.shown = null; // the plot, or what is drawn plainly
    this.points = null; // that it shows
    this.picking = null;
    this.densityAt = null; // the view
    this.turn = 0;
    this.drewAt = 0;
    const { first } = this.density;
    const seen = () => performance.mark("map-density");
    if (first.complete) seen();
    else first.addEventListener("load", seen, { once: true });
  }

  // Along with the view, once a frame.
  follow(view) {
    const { shown } = this;
    if (shown) shown.element.style.transform = view.transformOf(shown.drawn).css;
    if (this.densityAt) this.density.element.style.transform = view.transformOf(this.densityAt).css;
  }

  moved(view) {
    if (!this.shown || performance.now() - this.drewAt < AGAIN) return;
    if (this.covered(view) < LEFT) this.draw(view, MOVING);
  }

  // How much of a view lies in what was drawn, and how alike they are in size.
  covered(view) {
    const { drawn } = this.shown;
    const [left, top, right, bottom] = view.box;
    const [drawnLeft, drawnTop, drawnRight, drawnBottom] = drawn.box;
    const width = Math.max(0, Math.min(right, drawnRight) - Math.max(left, drawnLeft));
    const height = Math.max(0, Math.min(bottom, drawnBottom) - Math.max(top, drawnTop));
    return ((width * height) / ((right - left) * (bottom - top))) * Math.min(1, (NEARER * drawn.scale) / view.scale);
  }

  rest(view) {
    this.densityAt = view.copy();
    this.density.place(view);
    this.follow(view);
    return this.draw(view, AT_REST);
  }

  // Points come tile by tile. The first, and those of a sample, are drawn plainly; plotly draws once, at rest.
  async draw(current, budget) {
    const turn = (this.turn += 1);
    const view = current.copy();
    const given = () => turn !== this.turn;
    this.drewAt = performance.now();
    const look = await this.look();
    const sketch = (points) => {
      this.quick.draw(points, view, look, look.meant(points));
      this.show(this.quick, points, current);
      if (this.webgl) requestAnimationFrame(() => this.plot.prepare());
    };
    const some = (points) => {
      if (this.shown !== this.plot && points.n <= 2 * MOVING) sketch(points);
    };
    const points = await this.tiles.within(view.box, this.webgl ? budget : MOVING, some, given);
    if (!points) return;
    if (budget < AT_REST || !this.webgl) sketch(points);
    if (budget < AT_REST) return;
    if (this.webgl) {
      await this.plot.draw(points, view, look, look.meant(points), given);
      if (given()) return;
      this.show(this.plot, points, current);
    }
    this.picking = new Picking(points, view);
    this.stage.dataset.points = String(points.n);
    this.stage.dataset.complete = String(points.whole);
    performance.mark("map-rest");
    this.stage.dispatchEvent(new Event("map-rest", { bubbles: true }));
  }

  show(layer, points, view) {
    this.shown = layer;
    this.points = points;
    for (const each of [this.plot, this.quick]) each.element.style.visibility = each === layer ? "" : "hidden";
    this.follow(view);
    if (!performance.getEntriesByName("map-points").length) performance.mark("map-points");
  }

  // Whether what can be picked is what one sees: nothing has moved since it was drawn.
  still(view) {
    const drawn = this.picking?.view;
    return Boolean(drawn) && drawn.width === view.width && drawn.at.every((number, i) => number === view.at[i]);
  }

  // The point nearest to a place of the stage, if one is within so many pixels of it.
  nearest(px, py, within) {
    const number = this.picking?.nearest(px, py, within) ?? -1;
    if (number < 0) return null;
    const { x, y, part, index } = this.picking.points;
    return { key: `${part[number]}-${index[number]}`, x: x[number], y: y[number], near: [], family: [] };
  }
}
