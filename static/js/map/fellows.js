// Maps that stand beside each other: what is pointed at, opened or selected on one is shown on the others, by which feature
// of which SAE it is.

const together = (part, index) => part * 2 ** 32 + index;

export class Fellows {
  constructor(section, { onFeature, onSelected }) {
    this.section = section;
    this.parts = JSON.parse(section.dataset.parts); // SAEs, as addresses call them
    this.alone = document.querySelectorAll(".map").length < 2;
    this.linked = null; // points that are selected on another
    const hear = (name, act) =>
      document.addEventListener(name, ({ detail }) => {
        if (detail.from !== section) act(detail);
      });
    hear("map-feature", async ({ sae, index, lasting }) => {
      const part = this.parts.indexOf(sae);
      if (part < 0) return;
      const answer = await fetch(`${section.dataset.address}features/${part}/${index}/place/`);
      if (!answer.ok) return; // it is not on this one
      const [x, y] = (await answer.text()).split(",").map(Number);
      onFeature({ key: `${part}-${index}`, x, y, near: [], family: [] }, lasting);
    });
    hear("map-selected", ({ saes }) => {
      this.linked = saes && new Set(this.parts.flatMap((sae, part) => [...(saes[sae] ?? [])].map((index) => together(part, index))));
      section.dataset.linked = String(this.linked?.size ?? "");
      onSelected();
    });
  }

  // Of a point's number, where something is selected on another map.
  meant(points) {
    return this.linked && ((i) => this.linked.has(together(points.part[i], points.index[i])));
  }

  tell(name, detail) {
    if (!this.alone) document.dispatchEvent(new CustomEvent(name, { detail: { ...detail, from: this.section } }));
  }

  feature(key, lasting) {
    const [part, index] = key.split("-").map(Number);
    this.tell("map-feature", { sae: this.parts[part], index, lasting });
  }

  selected(points, chosen) {
    if (this.alone || !points) return;
    const saes = Object.fromEntries(this.parts.map((sae) => [sae, new Set()]));
    for (let i = 0; chosen && i < points.n; i += 1) if (chosen(i)) saes[this.parts[points.part[i]]].add(points.index[i]);
    this.tell("map-selected", { saes: chosen && saes });
  }
}
