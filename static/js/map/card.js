// What is pointed at: a card beside it, once one stays on it for a moment.

import { placeOf } from "./side.js";

const HOVER = 60; // milliseconds
const KEPT = 200; // cards
const BESIDE = 16; // pixels

export class Card {
  constructor(element, address) {
    this.element = element;
    this.address = address;
    this.texts = new Map();
  }

  // `came` is told what lies near it, as the card says.
  showSoon(found, view, came) {
    this.hide();
    this.waiting = setTimeout(() => this.show(found, view, came), HOVER);
  }

  hide() {
    clearTimeout(this.waiting);
    this.found = null;
    this.element.hidden = true;
  }

  async show(found, view, came) {
    this.found = found;
    const text = await this.text(found.key);
    if (!text || this.found !== found) return;
    this.element.innerHTML = text; // our own server's, which escapes what people wrote
    this.element.hidden = false;
    this.place(...view.toScreen(found.x, found.y), view);
    came(placeOf(this.element.firstElementChild));
  }

  place(px, py, view) {
    const { offsetWidth, offsetHeight } = this.element;
    const left = px + BESIDE + offsetWidth > view.width ? px - BESIDE - offsetWidth : px + BESIDE;
    const top = Math.min(Math.max(8, py - offsetHeight / 2), view.height - offsetHeight - 8);
    this.element.style.transform = `translate(${Math.max(8, left)}px, ${top}px)`;
  }

  async text(key) {
    if (!this.texts.has(key)) {
      const answer = await fetch(`${this.address}features/${key.replace("-", "/")}/card/`);
      if (!answer.ok) return "";
      this.texts.set(key, await answer.text());
      if (this.texts.size > KEPT) this.texts.delete(this.texts.keys().next().value);
    }
    return this.texts.get(key);
  }
}
