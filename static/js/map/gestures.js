// What hands do on a map: drag, pinch, wheel, click, draw around, keys. Tells `does` in pixels of the stage.

const STILL = 4; // pixels that a click may move
const WHEEL = 0.0022; // doublings a pixel of a wheel
const STEP = 0.18; // of the stage, for an arrow
const KEY_ZOOM = 0.5; // doublings

export function gestures(stage, does) {
  const pointers = new Map();
  let start = null; // of a drag
  let tool = "move";
  let drawing = false;

  const at = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  // A name is a button, except to whoever draws across it.
  const ours = ({ target, shiftKey }) =>
    target.closest(`.legend, .card, .minimap, a, button${tool !== "move" || shiftKey ? ":not([data-cluster])" : ""}`) === null;
  const spread = () => {
    const [[x1, y1], [x2, y2]] = [...pointers.values()];
    return { length: Math.hypot(x2 - x1, y2 - y1), middle: [(x1 + x2) / 2, (y1 + y2) / 2] };
  };

  stage.addEventListener("pointerdown", (event) => {
    if (!ours(event) || event.button) return;
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at(event));
    start = pointers.size === 1 ? { place: at(event), moved: false } : null;
    drawing = pointers.size === 1 && (tool !== "move" || event.shiftKey);
    if (drawing) does.begin(tool === "box" ? "box" : "lasso", at(event));
    does.left();
  });

  stage.addEventListener("pointermove", (event) => {
    const now = at(event);
    const before = pointers.get(event.pointerId);
    if (!before) {
      if (ours(event)) does.point(now, event);
      else does.left();
      return;
    }
    if (pointers.size === 2) {
      const was = spread();
      pointers.set(event.pointerId, now);
      const is = spread();
      does.move(is.middle[0] - was.middle[0], is.middle[1] - was.middle[1]);
      if (was.length && is.length) does.zoom(Math.log2(is.length / was.length), ...is.middle);
      return;
    }
    pointers.set(event.pointerId, now);
    if (start && Math.hypot(now[0] - start.place[0], now[1] - start.place[1]) > STILL) start.moved = true;
    if (drawing) does.draw(now);
    else if (start?.moved) does.move(now[0] - before[0], now[1] - before[1]);
  });

  const up = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    if (drawing) does.end(start?.moved ?? false);
    else if (start && !start.moved && event.type === "pointerup") does.click(start.place, event);
    [start, drawing] = [null, false];
  };
  stage.addEventListener("pointerup", up);
  stage.addEventListener("pointercancel", up);
  stage.addEventListener("pointerleave", () => does.left());
  stage.addEventListener("dblclick", (event) => ours(event) && does.zoom(1, ...at(event)));
  stage.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
      does.zoom(-Math.max(-1, Math.min(1, pixels * WHEEL)), ...at(event));
    },
    { passive: false },
  );

  const keys = {
    ArrowLeft: () => does.move(STEP * stage.clientWidth, 0),
    ArrowRight: () => does.move(-STEP * stage.clientWidth, 0),
    ArrowUp: () => does.move(0, STEP * stage.clientHeight),
    ArrowDown: () => does.move(0, -STEP * stage.clientHeight),
    "+": () => does.zoom(KEY_ZOOM),
    "=": () => does.zoom(KEY_ZOOM),
    "-": () => does.zoom(-KEY_ZOOM),
    Enter: () => does.enter(),
    Escape: () => does.escape(),
  };
  stage.addEventListener("keydown", (event) => {
    const act = event.target === stage && !event.ctrlKey && !event.metaKey && !event.altKey && keys[event.key];
    if (!act) return;
    event.preventDefault();
    does.keyed();
    act();
  });

  return { use: (name) => (tool = name) };
}
