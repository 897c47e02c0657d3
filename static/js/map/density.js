// How densely points lie, as pictures made by the server: beneath the points, and ahead of them.

const MOST = 24; // pictures of one level

export class Density {
  constructor(element, tiles) {
    this.element = element;
    this.tiles = tiles;
    this.first = element.querySelector("img");
    this.images = new Map([["0/0/0", this.first]]);
  }

  // The level of which a picture's pixel is about a pixel here, where there are so many; nearer ones stay beneath.
  place(view) {
    const { density } = this.tiles;
    const known = density?.tiles ?? ["0/0/0"];
    const sharp = Math.ceil(Math.log2(view.scale / (density?.side ?? 512)) - 0.5);
    const deepest = Math.max(...known.map((name) => Number(name.split("/")[0])));
    const level = Math.min(Math.max(0, sharp), deepest);
    const wanted = known.filter((name) => name.startsWith(`${level}/`) && this.overlaps(name, view));
    const shown = new Set(["0/0/0", ...(wanted.length <= MOST ? wanted : [])]);
    for (const [name, image] of this.images) {
      if (!shown.has(name)) {
        image.remove();
        this.images.delete(name);
      }
    }
    for (const name of shown) {
      if (!this.images.has(name)) this.add(name);
      this.put(this.images.get(name), name, view);
    }
    // Where sharper ones are there the first would show through them.
    const there = wanted.length && level > 0 && wanted.every((name) => this.images.get(name)?.complete);
    this.first.style.visibility = there ? "hidden" : "";
  }

  overlaps(name, view) {
    const [z, x, y] = name.split("/").map(Number);
    const side = 2 ** -z;
    const [left, top, right, bottom] = view.box;
    return x * side <= right && (x + 1) * side >= left && y * side <= bottom && (y + 1) * side >= top;
  }

  add(name) {
    const image = new Image();
    image.alt = "";
    image.src = `${this.tiles.address}density/${name}.png`;
    image.addEventListener("load", () => this.element.dispatchEvent(new Event("sharper")));
    this.element.append(image);
    this.images.set(name, image);
  }

  put(image, name, view) {
    const [z, x, y] = name.split("/").map(Number);
    const side = 2 ** -z;
    const [left, top] = view.toScreen(x * side, y * side);
    const size = view.scale * side;
    image.style.width = image.style.height = `${size}px`;
    image.style.transform = `translate(${left}px, ${top}px)`;
  }
}
