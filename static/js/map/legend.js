// By what points are coloured: what is chosen, the legend that goes with it, and its parts as ways to select.

import { colouring, palette, swatch } from "./colours.js";

export class Legend {
  constructor(section, { chosen, onChange, onArea }) {
    this.select = section.querySelector("[data-colour]");
    this.legends = [...section.querySelectorAll("[data-legend]")];
    this.buttons = [...section.querySelectorAll(".legend [data-area]")];
    this.address = section.dataset.address;
    this.usual = this.select.options[0].value;
    if ([...this.select.options].some(({ value }) => value === chosen)) this.select.value = chosen;
    this.palette = palette();
    this.coloured = this.colour();
    const anew = () => {
      this.palette = palette();
      this.coloured = this.colour();
      onChange();
    };
    this.select.addEventListener("change", anew);
    document.addEventListener("theme", anew);
    for (const button of this.buttons) {
      button.addEventListener("click", () => onArea(...button.dataset.area.split("=")));
    }
  }

  // What an address says of it: nothing, where it is as usual.
  get written() {
    return this.select.value === this.usual ? null : this.select.value;
  }

  async colour() {
    const name = this.select.value;
    for (const legend of this.legends) legend.hidden = legend.dataset.legend !== name;
    const shown = this.legends.find((legend) => !legend.hidden);
    if (shown) swatch(shown, this.palette);
    const marks = name === "labelled" ? await this.labelled() : name === "score" ? await this.scored() : null;
    return colouring(name, { bars: Number(shown?.dataset.ramp ?? 0), marks });
  }

  // The features that have a label.
  async labelled() {
    const pairs = await this.said("labelled/");
    const found = new Set();
    for (let i = 0; i < pairs.length; i += 2) found.add(pairs[i] * 2 ** 32 + pairs[i + 1]);
    return found;
  }

  // Those that have a score, and in which band it is.
  async scored() {
    const triples = await this.said("scored/");
    const found = new Map();
    for (let i = 0; i < triples.length; i += 3) found.set(triples[i] * 2 ** 32 + triples[i + 1], triples[i + 2]);
    return found;
  }

  async said(what) {
    const answer = await fetch(this.address + what);
    if (!answer.ok) throw new Error(`${what} the server answered ${answer.status}`);
    return new Uint32Array(await answer.arrayBuffer());
  }

  press(area) {
    for (const button of this.buttons) {
      const [name, value] = button.dataset.area.split("=");
      button.setAttribute("aria-pressed", String(area[name] === value));
    }
  }
}
