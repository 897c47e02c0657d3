// Drags about in a circle and zooms in and out by turns, by the events that a hand makes, one a frame, without a rest.
async (seconds) => {
  const stage = document.querySelector(".stage");
  stage.setPointerCapture = () => {}; // no pointer of these events is a real one
  const box = stage.getBoundingClientRect();
  const [midX, midY] = [box.left + box.width / 2, box.top + box.height / 2];
  const send = (type, clientX, clientY, more = {}) => {
    const Kind = type === "wheel" ? WheelEvent : PointerEvent;
    stage.dispatchEvent(new Kind(type, { clientX, clientY, bubbles: true, cancelable: true, pointerId: 1, ...more }));
  };
  const started = performance.now();
  let down = false;
  await new Promise((done) => {
    const step = (now) => {
      const t = (now - started) / 1000;
      const [x, y] = [midX + 320 * Math.cos(Math.PI * t), midY + 220 * Math.sin(Math.PI * t)]; // round, and back
      const dragging = t % 4 < 2 && t <= seconds;
      if (down && !dragging) send("pointerup", x, y);
      else if (!down && dragging) send("pointerdown", x, y);
      else if (dragging) send("pointermove", x, y);
      if (t > seconds) return done();
      if (!dragging) send("wheel", midX, midY, { deltaY: t % 4 < 3 ? -14 : 14 });
      down = dragging;
      return requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  });
}
