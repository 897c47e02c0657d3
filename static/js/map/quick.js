// Points drawn plainly, as squares on a canvas, in a few milliseconds: the first there are, a sample while one moves, and
// all there are where a browser has no WebGL.

export class Quick {
  constructor(element) {
    this.element = element;
    this.context = element.getContext("2d");
    this.drawn = null; // the view
  }

  draw(points, view, { groups, of, colours, palette }, meant) {
    const { element, context } = this;
    [element.width, element.height] = [view.width, view.height]; // which clears it
    const fills = [palette.none, ...colours(palette)];
    const group = Int16Array.from({ length: points.n }, (_, i) => (meant && !meant(i) ? -1 : of(points, i) + 1));
    const size = points.n > 4000 ? 3 : 5;
    const { scale } = view;
    const [left, top] = [view.width / 2 - view.x * scale - size / 2, view.height / 2 - view.y * scale - size / 2];
    for (let each = -1; each <= groups; each += 1) {
      context.fillStyle = fills[Math.max(0, each)];
      context.globalAlpha = each < 0 ? 0.12 : 0.8;
      for (let i = 0; i < points.n; i += 1) {
        if (group[i] === each) context.fillRect(left + points.x[i] * scale, top + points.y[i] * scale, size, size);
      }
    }
    this.drawn = view.copy();
  }
}
