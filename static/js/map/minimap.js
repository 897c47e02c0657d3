// Where on the whole one is, and a way elsewhere.

const FROM = 0.8; // doublings from which it is of use

export class Minimap {
  constructor(element, onGo) {
    this.element = element;
    this.frame = element.querySelector("i");
    const go = (event) => {
      const box = element.getBoundingClientRect();
      onGo((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    };
    element.addEventListener("pointerdown", go);
    element.addEventListener("pointermove", (event) => event.buttons && go(event));
  }

  follow(view) {
    this.element.hidden = view.doublings < FROM;
    if (this.element.hidden) return;
    const [left, top, right, bottom] = view.box.map((each) => 100 * Math.min(1, Math.max(0, each)));
    const sides = { left, top, width: right - left, height: bottom - top };
    for (const [name, share] of Object.entries(sides)) this.frame.style[name] = `${share}%`;
  }
}
