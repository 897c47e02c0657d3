// Beside the map: what is opened, selected and found, each in a place of its own, written by the server.

const PLACES = ["opened", "selection", "found"];

export class Side {
  constructor(element, { onClose, onGo, onUnfold }) {
    this.element = element;
    this.turns = {};
    this.places = Object.fromEntries(
      PLACES.map((name) => {
        const place = document.createElement("div");
        place.dataset.place = name;
        element.append(place);
        return [name, place];
      }),
    );
    element.addEventListener("click", (event) => {
      const go = event.target.closest("[data-go]");
      if (go) onGo(go.dataset.go, placeOf(go));
      if (event.target.closest("[data-close]")) onClose(event.target.closest("[data-place]").dataset.place);
    });
    element.addEventListener("toggle", (event) => this.unfold(event.target, onUnfold), true);
  }

  // Puts an answer in its place; false where another was asked for meanwhile, or it did not come.
  async show(name, address) {
    const turn = (this.turns[name] = (this.turns[name] ?? 0) + 1);
    let text;
    try {
      const answer = await fetch(address, { headers: { Accept: "text/html" } });
      if (answer.redirected) throw new Error("Sign in again.");
      if (!answer.ok && answer.status !== 422) throw new Error(`The server answered ${answer.status}.`);
      text = await answer.text();
    } catch (why) {
      if (turn === this.turns[name]) this.fail(name, why.message, () => this.show(name, address));
      return null;
    }
    if (turn !== this.turns[name]) return null;
    this.places[name].innerHTML = text; // our own server's, which escapes what people wrote
    this.element.hidden = false;
    return this.places[name].firstElementChild;
  }

  fail(name, message, again) {
    const [said, button] = [document.createElement("p"), document.createElement("button")];
    said.className = "error";
    said.textContent = message;
    Object.assign(button, { type: "button", className: "quiet", textContent: "Try again" });
    button.addEventListener("click", again);
    this.places[name].replaceChildren(said, button);
    this.element.hidden = false;
  }

  clear(name) {
    this.turns[name] = (this.turns[name] ?? 0) + 1;
    this.places[name].replaceChildren();
    this.element.hidden = PLACES.every((each) => !this.places[each].hasChildNodes());
  }

  async unfold(details, onUnfold) {
    if (!details.matches?.("[data-card]") || !details.open) return;
    const inner = details.querySelector(".inner");
    onUnfold(placeOf(details));
    if (inner.hasChildNodes()) return;
    const answer = await fetch(details.dataset.card);
    inner.innerHTML = answer.ok ? await answer.text() : "";
  }
}

// Where an element's feature lies, and what is near it.
export function placeOf({ dataset }) {
  const pairs = (text) => (text ?? "").split(";").filter(Boolean).map((pair) => pair.split(",").map(Number));
  const { x, y, near, family, point, go } = dataset;
  return { key: point ?? go, x: Number(x), y: Number(y), near: pairs(near), family: pairs(family) };
}
