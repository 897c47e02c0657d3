// Where one looks: the middle, in the map's own coordinates from 0 to 1, and how many pixels its side takes.

const FURTHEST_OUT = -1; // doublings from the whole
const NEAREST = 24;

export class View {
  constructor(width, height, at = [0.5, 0.5, 0]) {
    this.resize(width, height);
    this.put(at);
  }

  resize(width, height) {
    [this.width, this.height] = [Math.max(width, 1), Math.max(height, 1)];
    this.side = Math.min(this.width, this.height); // pixels of the map where all of it is seen
  }

  put([x, y, doublings]) {
    this.x = Math.min(1.2, Math.max(-0.2, x));
    this.y = Math.min(1.2, Math.max(-0.2, y));
    this.doublings = Math.min(NEAREST, Math.max(FURTHEST_OUT, doublings));
  }

  get at() {
    return [this.x, this.y, this.doublings];
  }

  get scale() {
    return this.side * 2 ** this.doublings;
  }

  toScreen(x, y) {
    return [(x - this.x) * this.scale + this.width / 2, (y - this.y) * this.scale + this.height / 2];
  }

  toMap(px, py) {
    return [(px - this.width / 2) / this.scale + this.x, (py - this.height / 2) / this.scale + this.y];
  }

  // left, top, right, bottom
  get box() {
    return [...this.toMap(0, 0), ...this.toMap(this.width, this.height)];
  }

  move(dx, dy) {
    this.put([this.x - dx / this.scale, this.y - dy / this.scale, this.doublings]);
  }

  // What lies under (px, py) stays there.
  zoom(by, px = this.width / 2, py = this.height / 2) {
    const [x, y] = this.toMap(px, py);
    this.put([this.x, this.y, this.doublings + by]);
    const [nowX, nowY] = this.toMap(px, py);
    this.put([this.x + x - nowX, this.y + y - nowY, this.doublings]);
  }

  copy() {
    const found = new View(this.width, this.height);
    [found.x, found.y, found.doublings] = this.at;
    return found;
  }

  // How something drawn for another view is to be moved and scaled to lie right in this one.
  transformOf(drawn) {
    const scale = this.scale / drawn.scale;
    const [left, top] = this.toScreen(...drawn.toMap(0, 0));
    return { left, top, scale, css: `translate(${left}px, ${top}px) scale(${scale})` };
  }
}
