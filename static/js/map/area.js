// Whether a drawn point is in what is selected; the server says it of all points (map_areas.py).

import { outline } from "./address.js";

const MOST_CORNERS = 120;

function inPolygon(x, y, corners) {
  let inside = false;
  for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
    const [[xi, yi], [xj, yj]] = [corners[i], corners[j]];
    if (yi > y !== yj > y && x < xi + ((y - yi) * (xj - xi)) / (yj - yi)) inside = !inside;
  }
  return inside;
}

// Of a point's number; null where all are meant.
export function meant(area, points) {
  const tests = [];
  const corners = outline(area);
  if (corners.length) tests.push((i) => inPolygon(points.x[i], points.y[i], corners));
  if (area.cluster) {
    const [grain, number] = area.cluster.split("-");
    const wanted = number === "none" ? 0 : Number(number) + 1;
    const clusters = points.clusters[Number(grain)];
    tests.push((i) => clusters?.[i] === wanted);
  }
  if (area.bar) {
    const [name, place] = area.bar.split("-");
    tests.push((i) => points[name]?.[i] === Number(place));
  }
  if (area.part) tests.push((i) => points.part[i] === Number(area.part));
  return tests.length ? (i) => tests.every((test) => test(i)) : null;
}

// Corners that a hand has drawn, without those that lie next to straight lines, and so few that an address holds them.
export function simplified(corners, view) {
  let tolerance = 1.5 / view.scale;
  let found = corners;
  do {
    found = kept(corners, tolerance);
    tolerance *= 1.5;
  } while (found.length > MOST_CORNERS);
  return found;
}

// Douglas and Peucker's.
function kept(corners, tolerance) {
  if (corners.length < 3) return corners;
  const [[x1, y1], [x2, y2]] = [corners[0], corners.at(-1)];
  const length = Math.hypot(x2 - x1, y2 - y1);
  let [furthest, most] = [0, 0];
  for (let i = 1; i < corners.length - 1; i += 1) {
    const [x, y] = corners[i];
    const far = length ? Math.abs((x2 - x1) * (y1 - y) - (x1 - x) * (y2 - y1)) / length : Math.hypot(x - x1, y - y1);
    if (far > most) [furthest, most] = [i, far];
  }
  if (most <= tolerance) return [corners[0], corners.at(-1)];
  return [...kept(corners.slice(0, furthest + 1), tolerance).slice(0, -1), ...kept(corners.slice(furthest), tolerance)];
}
