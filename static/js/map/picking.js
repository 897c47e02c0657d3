// Which of the drawn points lies nearest to a place: a grid of cells of so many pixels, made when points are drawn.

const CELL = 16; // pixels

export class Picking {
  constructor(points, view) {
    this.points = points;
    this.view = view.copy();
    this.columns = Math.ceil(view.width / CELL) + 1;
    this.rows = Math.ceil(view.height / CELL) + 1;
    const starts = new Uint32Array(this.columns * this.rows + 1);
    const cells = new Int32Array(points.n);
    for (let i = 0; i < points.n; i += 1) {
      cells[i] = this.cell(...view.toScreen(points.x[i], points.y[i]));
      if (cells[i] >= 0) starts[cells[i] + 1] += 1;
    }
    for (let cell = 0; cell < starts.length - 1; cell += 1) starts[cell + 1] += starts[cell];
    const at = starts.slice();
    this.order = new Uint32Array(points.n);
    for (let i = 0; i < points.n; i += 1) if (cells[i] >= 0) this.order[at[cells[i]]++] = i;
    this.starts = starts;
  }

  cell(px, py) {
    const [column, row] = [Math.floor(px / CELL), Math.floor(py / CELL)];
    const there = column >= 0 && row >= 0 && column < this.columns && row < this.rows;
    return there ? row * this.columns + column : -1;
  }

  // The number of the nearest within so many pixels; −1: none.
  nearest(px, py, within = 10) {
    const { points, view, starts, order } = this;
    let [best, least] = [-1, within * within];
    const reach = (value) => [Math.floor((value - within) / CELL), Math.floor((value + within) / CELL)];
    const [[left, right], [top, bottom]] = [reach(px), reach(py)];
    for (let row = Math.max(0, top); row <= Math.min(this.rows - 1, bottom); row += 1) {
      for (let column = Math.max(0, left); column <= Math.min(this.columns - 1, right); column += 1) {
        const cell = row * this.columns + column;
        for (let k = starts[cell]; k < starts[cell + 1]; k += 1) {
          const [x, y] = view.toScreen(points.x[order[k]], points.y[order[k]]);
          const far = (x - px) ** 2 + (y - py) ** 2;
          if (far < least) [best, least] = [order[k], far];
        }
      }
    }
    return best;
  }
}
