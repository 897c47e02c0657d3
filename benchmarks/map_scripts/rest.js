// From one move until all that are drawn at rest are there, without the 140 ms after which it counts as a rest.
async (way) => {
  const stage = document.querySelector(".stage");
  const rested = new Promise((done) => stage.addEventListener("map-rest", () => done(performance.now()), { once: true }));
  const moved = performance.now();
  stage.dispatchEvent(new KeyboardEvent("keydown", { key: way, bubbles: true, cancelable: true }));
  return (await rested) - moved - 140;
}
