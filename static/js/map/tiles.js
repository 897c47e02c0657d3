// Tiles of points (packed/tiles.py), fetched once each. Points stand in the order of ranks that were drawn by lot, so
// those below a rank are a fair sample of any part of the map.

const STEPS = 65536;
const AT_ONCE = 6; // requests, as many as a browser makes
const KEPT = 400; // tiles

const overlaps = (tile, [left, top, right, bottom]) => {
  const side = 2 ** -tile.z;
  return tile.x * side <= right && (tile.x + 1) * side >= left && tile.y * side <= bottom && (tile.y + 1) * side >= top;
};

function decoded(buffer, tile) {
  const [n, grains] = new Uint32Array(buffer, 0, 2);
  let at = 8;
  const take = (Kind, count) => {
    const found = new Kind(buffer, at, count);
    at += found.byteLength;
    return found;
  };
  const index = take(Uint32Array, n);
  const [steps, side] = [[take(Uint16Array, n), take(Uint16Array, n)], 2 ** -tile.z];
  const place = (values, first) => Float64Array.from(values, (step) => (first + step / STEPS) * side);
  const clusters = Array.from({ length: grains }, () => take(Uint16Array, n));
  const [part, density, maximum, mean] = Array.from({ length: 4 }, () => take(Uint8Array, n));
  return { n, index, x: place(steps[0], tile.x), y: place(steps[1], tile.y), clusters, part, density, maximum, mean };
}

export class Tiles {
  constructor(indexAddress) {
    this.address = indexAddress.slice(0, indexAddress.lastIndexOf("/") + 1);
    this.loaded = new Map(); // by name; the least recently used first
    this.bytes = 0;
    this.ready = fetch(indexAddress).then((answer) => {
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      return answer.json();
    });
    this.ready = this.ready.then(({ n, tiles, density }) => {
      this.n = n;
      this.density = density;
      this.tiles = Object.entries(tiles).map(([name, [count, first, last]]) => {
        const [z, x, y] = name.split("/").map(Number);
        return { name, z, x, y, count, first, last };
      });
      this.tiles.sort((one, other) => one.first - other.first);
    });
  }

  async get(tile) {
    let found = this.loaded.get(tile.name);
    if (found) this.loaded.delete(tile.name); // to the end
    found ??= this.fetched(tile);
    this.loaded.set(tile.name, found);
    while (this.loaded.size > KEPT) this.loaded.delete(this.loaded.keys().next().value);
    return found;
  }

  async fetched(tile) {
    try {
      const answer = await fetch(`${this.address}points/${tile.name}`);
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      const buffer = await answer.arrayBuffer();
      return decoded(buffer, tile);
    } catch (why) {
      this.loaded.delete(tile.name); // it is asked for again
      throw why;
    }
  }

  // Points within a box, at most so many: all below some rank. Calls `some` with what there is as it comes, where that
  // is half as many again as before; `given` up on, it returns null.
  async within(box, budget, some, given = () => false) {
    await this.ready;
    const wanted = this.tiles.filter((tile) => overlaps(tile, box));
    const here = [];
    let [found, shown, loaded] = [gathered([], true), 0, 0];
    for (const group of groups(wanted)) {
      const came = await Promise.all(group.map((tile) => this.get(tile)));
      if (given()) return null;
      here.push(...came.map((points, place) => inBox(points, group[place], box)));
      loaded += group.length;
      const upTo = wanted[loaded]?.first ?? Infinity; // points of higher ranks may be in tiles that are yet to come
      found = below(here, upTo, budget);
      if (found.n >= budget || upTo === Infinity) break;
      if (found.n > shown * 1.5) {
        some(found);
        shown = found.n;
      }
    }
    return found;
  }
}

// The first alone, so that there is soon something to see.
function* groups(tiles) {
  if (tiles.length) yield tiles.slice(0, 1);
  for (let at = 1; at < tiles.length; at += AT_ONCE) yield tiles.slice(at, at + AT_ONCE);
}

// Which of a tile's points lie in a box, by rank.
function inBox(points, tile, [left, top, right, bottom]) {
  const { x, y, n } = points;
  const numbers = new Uint32Array(n);
  let count = 0;
  for (let i = 0; i < n; i += 1) {
    if (x[i] >= left && x[i] <= right && y[i] >= top && y[i] <= bottom) numbers[count++] = i;
  }
  const step = n > 1 ? (tile.last - tile.first) / (n - 1) : 0; // ranks within a tile lie evenly
  return { points, numbers: numbers.subarray(0, count), first: tile.first, step };
}

// How many of a tile's numbers are below a rank.
function countBelow({ numbers, first, step }, rank) {
  if (rank === Infinity || !numbers.length) return numbers.length;
  const most = step ? (rank - first) / step : rank > first ? Infinity : -1; // places in the tile
  let [low, high] = [0, numbers.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < most) low = middle + 1;
    else high = middle;
  }
  return low;
}

function below(here, upTo, budget) {
  const total = (rank) => here.reduce((sum, each) => sum + countBelow(each, rank), 0);
  let rank = upTo;
  if (total(rank) > budget) {
    let [low, high] = [0, Math.min(upTo, 2 ** 32)];
    for (let step = 0; step < 40; step += 1) {
      const middle = (low + high) / 2;
      if (total(middle) > budget) high = middle;
      else low = middle;
    }
    rank = low;
  }
  return gathered(here.map((each) => [each, countBelow(each, rank)]), rank === Infinity);
}

function gathered(parts, whole) {
  const n = parts.reduce((sum, [, count]) => sum + count, 0);
  const grains = parts[0]?.[0].points.clusters.length ?? 0;
  const joined = (Kind, of) => {
    const values = new Kind(n);
    let at = 0;
    for (const [{ points, numbers }, count] of parts) {
      const column = of(points);
      for (let k = 0; k < count; k += 1) values[at++] = column[numbers[k]];
    }
    return values;
  };
  return {
    n,
    whole, // nothing that lies there is left out
    x: joined(Float64Array, ({ x }) => x),
    y: joined(Float64Array, ({ y }) => y),
    index: joined(Uint32Array, ({ index }) => index),
    clusters: Array.from({ length: grains }, (_, grain) => joined(Uint16Array, ({ clusters }) => clusters[grain])),
    part: joined(Uint8Array, ({ part }) => part),
    density: joined(Uint8Array, ({ density }) => density),
    maximum: joined(Uint8Array, ({ maximum }) => maximum),
    mean: joined(Uint8Array, ({ mean }) => mean),
  };
}
