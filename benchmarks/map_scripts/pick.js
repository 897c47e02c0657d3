// What each event of a pointer that moves over the points takes: to find the nearest, and to mark it.
() => {
  const stage = document.querySelector(".stage");
  const box = stage.getBoundingClientRect();
  return Array.from({ length: 400 }, (_, i) => {
    const clientX = box.left + box.width * (0.3 + 0.004 * ((i * 37) % 100));
    const clientY = box.top + box.height * (0.2 + 0.006 * ((i * 61) % 100));
    const before = performance.now();
    stage.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, bubbles: true, pointerId: 1 }));
    return performance.now() - before;
  });
}
