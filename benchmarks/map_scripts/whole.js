// To the whole map, and at rest there.
async () => {
  const stage = document.querySelector(".stage");
  const rested = new Promise((done) => stage.addEventListener("map-rest", done, { once: true }));
  document.querySelector("[data-whole]").click();
  await rested;
}
