// What is drawn over the points, anew for every frame: what is pointed at and what lies near it, what was found, what
// is selected. Little of it, on a canvas of its own.

const TURN = 2 * Math.PI;

export class Over {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.clear();
  }

  clear() {
    this.pointed = null; // { x, y, near: [[x, y]], family: [[x, y]] }
    this.opened = null; // likewise
    this.hits = []; // [x, y]
    this.outline = []; // [x, y], of a lasso or box
    this.open = false; // it is being drawn
    this.crosshair = false;
  }

  resize(width, height) {
    const ratio = window.devicePixelRatio || 1;
    [this.canvas.width, this.canvas.height] = [width * ratio, height * ratio];
    [this.canvas.style.width, this.canvas.style.height] = [`${width}px`, `${height}px`];
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  draw(view, palette) {
    const { context } = this;
    context.clearRect(0, 0, view.width, view.height);
    context.lineJoin = "round";
    this.drawOutline(view, palette);
    context.strokeStyle = palette.paper;
    context.fillStyle = palette.accent;
    context.lineWidth = 1;
    for (const [x, y] of this.hits) this.dot(...view.toScreen(x, y), 4, true);
    if (this.opened) this.star(this.opened, view, palette, true);
    if (this.pointed) this.star(this.pointed, view, palette, false);
    if (this.crosshair) this.drawCrosshair(view, palette);
  }

  dot(px, py, radius, filled) {
    const { context } = this;
    if (px < -radius || py < -radius || px > context.canvas.width + radius || py > context.canvas.height + radius) return;
    context.beginPath();
    context.arc(px, py, radius, 0, TURN);
    if (filled) context.fill();
    context.stroke();
  }

  // A point, lines to its neighbours, and broken ones to its kin in other SAEs.
  star({ x, y, near, family }, view, palette, lasting) {
    const { context } = this;
    const from = view.toScreen(x, y);
    context.strokeStyle = lasting ? palette.accent : palette.ink;
    const lines = (places, dash, opacity) => {
      context.setLineDash(dash);
      context.globalAlpha = opacity;
      context.beginPath();
      for (const [otherX, otherY] of places) {
        context.moveTo(...from);
        context.lineTo(...view.toScreen(otherX, otherY));
      }
      context.lineWidth = 1;
      context.stroke();
      context.setLineDash([]);
      context.globalAlpha = 1;
      for (const place of places) this.dot(...view.toScreen(...place), 4, false);
    };
    lines(near, [], 0.45);
    lines(family, [4, 4], 0.8);
    context.lineWidth = 2;
    this.dot(...from, 7, false);
    context.lineWidth = 1;
  }

  drawOutline(view, palette) {
    if (this.outline.length < 2) return;
    const { context } = this;
    context.beginPath();
    for (const [x, y] of this.outline) context.lineTo(...view.toScreen(x, y));
    if (!this.open) context.closePath();
    context.globalAlpha = 0.08;
    context.fillStyle = palette.accent;
    context.fill();
    context.globalAlpha = 1;
    context.strokeStyle = palette.accent;
    context.lineWidth = 1.5;
    context.stroke();
  }

  drawCrosshair(view, palette) {
    const { context } = this;
    const [px, py] = [Math.round(view.width / 2) + 0.5, Math.round(view.height / 2) + 0.5];
    context.strokeStyle = palette.ink;
    context.lineWidth = 1;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(px + 5 * dx, py + 5 * dy);
      context.lineTo(px + 13 * dx, py + 13 * dy);
    }
    context.stroke();
  }
}
