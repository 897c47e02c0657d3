// What somebody would want to share or come back to is in the address: the view, the colours, what is looked for, what is
// selected and what is opened.

const AREAS = ["lasso", "box", "cluster", "bar", "part"];
const rounded = (number, digits) => Number(number.toFixed(digits)).toString();

// What the server could not understand, and has said so, is left out here too.
export function read(leftOut, search = location.search) {
  const given = new URLSearchParams(search);
  for (const name of leftOut) given.delete(name);
  const numbers = (text, count) => {
    const found = (text ?? "").split(",").map(Number);
    return found.length === count && found.every(Number.isFinite) ? found : null;
  };
  const feature = /^(\d{1,3})-(\d{1,10})$/.exec(given.get("feature") ?? "");
  return {
    at: numbers(given.get("at"), 3),
    colour: given.get("colour"),
    q: given.get("q") ?? "",
    feature: feature ? feature[0] : null,
    area: Object.fromEntries(AREAS.filter((name) => given.get(name)).map((name) => [name, given.get(name)])),
  };
}

export function written({ at, colour, q, feature, area }, before = location.search) {
  const given = new URLSearchParams(before);
  for (const name of ["at", "colour", "q", "feature", ...AREAS]) given.delete(name);
  const whole = at.every((number, i) => Math.abs(number - [0.5, 0.5, 0][i]) < 1e-6);
  const digits = Math.ceil(4 + at[2] * 0.31); // as many as a pixel asks for
  if (!whole) given.set("at", `${rounded(at[0], digits)},${rounded(at[1], digits)},${rounded(at[2], 2)}`);
  if (colour) given.set("colour", colour);
  if (q) given.set("q", q);
  if (feature) given.set("feature", feature);
  for (const [name, value] of Object.entries(area)) given.set(name, value);
  return given.size ? `?${given}`.replaceAll("%2C", ",") : "";
}

export const corners = (points) => points.map(([x, y]) => `${rounded(x, 6)},${rounded(y, 6)}`).join("_");

export const outline = (area) => {
  if (area.lasso) return area.lasso.split("_").map((corner) => corner.split(",").map(Number));
  if (!area.box) return [];
  const [left, top, right, bottom] = area.box.split(",").map(Number);
  return [[left, top], [right, top], [right, bottom], [left, bottom]];
};
