// From one move until all that are drawn at rest are there and a frame has gone out with them, without the 140 ms after
// which it counts as a rest.
async (way) => {
  const stage = document.querySelector(".stage");
  const rested = new Promise((done) => stage.addEventListener("map-rest", done, { once: true }));
  const moved = performance.now();
  stage.dispatchEvent(new KeyboardEvent("keydown", { key: way, bubbles: true, cancelable: true }));
  await rested;
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  await frame();
  await frame();
  return performance.now() - moved - 140;
}
