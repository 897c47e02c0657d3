// Shows the figures of the token that is pointed at or focused, in one card for the whole page, and moves the focus
// between the tokens of a text. The Tab key enters a text at one token and leaves it again; arrows move within:
// left and right to the next token, up and down to the next that fires, Home and End to the first and last.
// Listens on the document, so that texts which arrive later need no setting up.
"use strict";

(() => {
  const TOKEN = ".tokens > span";
  const EDGE = 8; // pixels between the card and the edge of the window
  const ESCAPES = { "\n": "\\n", "\t": "\\t", " ": "·", "\\": "\\\\" };

  const card = document.createElement("div");
  card.className = "token-card";
  card.popover = "manual"; // above everything, dialogs included
  card.ariaHidden = "true"; // read out from `said` instead, and only for who moves by keyboard
  const said = document.createElement("p");
  said.className = "token-said";
  said.role = "status";
  const attach = () => document.body.append(card, said);
  attach();
  let shown = null;

  const tokenOf = (target) => (target instanceof Element ? target.closest(TOKEN) : null);
  const focused = () => tokenOf(document.activeElement);

  const code = (point) => `\\u{${point.toString(16)}}`;

  function quoted(token) {
    const pieces = [...token.childNodes].map((node) => {
      const text = node.textContent;
      if (node.className === "byte") return text.replace(/ ?(..)/g, "\\x$1");
      if (node.className === "odd") return code(text.codePointAt(0));
      if (node.className === "mark") return code(parseInt(text.slice(2), 16));
      return text.replace(/[\n\t \\]/g, (blank) => ESCAPES[blank]);
    });
    return `“${pieces.join("")}”`;
  }

  function number(text) {
    return text.endsWith("inf") ? Number(text.replace("inf", "Infinity")) : Number(text);
  }

  function read(token) {
    const text = token.parentElement;
    let position = Number(text.dataset.first);
    for (let before = token; (before = before.previousElementSibling); ) {
      position += before.dataset.t.split(" ").length;
    }
    const ids = token.dataset.t.split(" ").map(Number);
    const activations = token.dataset.a.split(" ").map(number);
    return { ids, activations, position };
  }

  function share(activations, token) {
    const strongest = Math.max(...activations.filter((value) => value > 0));
    const peak = number(token.parentElement.dataset.peak);
    if (!(strongest > 0 && strongest < Infinity && peak < Infinity)) return "";
    return `${Number(((100 * strongest) / peak).toPrecision(3))} %`;
  }

  function describe(token, { ids, activations, position }) {
    const last = position + ids.length - 1;
    const one = ids.length === 1;
    const ofPeak = share(activations, token);
    return [
      ["activation", token.dataset.a.replaceAll(" ", ", ")],
      ...(ofPeak ? [["of the peak", ofPeak]] : []),
      [one ? "token" : "tokens", ids.join(", ")],
      [one ? "position" : "positions", one ? String(position) : `${position} to ${last}`],
    ];
  }

  function fill(text, rows) {
    const title = document.createElement("p");
    title.dir = "auto";
    title.textContent = text;
    const list = document.createElement("dl");
    for (const [name, value] of rows) {
      list.append(document.createElement("dt"), document.createElement("dd"));
      list.children[list.children.length - 2].textContent = name;
      list.lastElementChild.textContent = value;
    }
    card.replaceChildren(title, list);
  }

  // Above the token, touching it, so that the pointer can go over and reading on is not in its way.
  function place() {
    if (!shown) return;
    const boxes = [...shown.getClientRects()];
    const box = boxes.find(({ width }) => width) ?? boxes[0];
    if (!shown.isConnected || !box) return hide();
    const { clientWidth, clientHeight } = document.documentElement;
    const { width, height } = card.getBoundingClientRect();
    const left = Math.max(EDGE, Math.min(box.left, clientWidth - width - EDGE));
    const above = box.top - height;
    const top = above >= EDGE ? above : Math.min(box.bottom, clientHeight - height - EDGE);
    card.style.left = `${left}px`;
    card.style.top = `${top}px`;
  }

  function show(token) {
    if (token === shown) return;
    if (!card.isConnected) attach(); // a new body came
    shown = token;
    const figures = read(token);
    fill(quoted(token), describe(token, figures));
    token.dispatchEvent(new CustomEvent("token", { bubbles: true, detail: { ...figures, card } })); // a page may add to it
    card.showPopover();
    place();
  }

  function hide() {
    if (!shown) return;
    shown = null;
    card.hidePopover();
    document.dispatchEvent(new CustomEvent("token-left"));
  }

  function focus(token) {
    for (const other of token.parentElement.querySelectorAll(":scope > [tabindex='0']")) other.tabIndex = -1;
    token.tabIndex = 0;
    token.focus();
  }

  function fires(token) {
    return token.className !== "";
  }

  function next(token, key) {
    const tokens = [...token.parentElement.children];
    const at = tokens.indexOf(token);
    const rightToLeft = getComputedStyle(token.parentElement).direction === "rtl";
    switch (key) {
      case "ArrowRight": return tokens[at + (rightToLeft ? -1 : 1)];
      case "ArrowLeft": return tokens[at + (rightToLeft ? 1 : -1)];
      case "ArrowDown": return tokens.slice(at + 1).find(fires);
      case "ArrowUp": return tokens.slice(0, at).findLast(fires);
      case "Home": return tokens[0];
      case "End": return tokens.at(-1);
    }
  }

  document.addEventListener("pointerover", ({ target }) => {
    const token = tokenOf(target);
    if (token) show(token);
  });
  document.addEventListener("pointerout", ({ relatedTarget }) => {
    if (tokenOf(relatedTarget) || card.contains(relatedTarget)) return;
    const token = focused();
    if (token) show(token);
    else hide();
  });
  // Not where a click ended a selection, which moving the focus would undo.
  document.addEventListener("click", ({ target }) => {
    const token = tokenOf(target);
    if (token && getSelection().isCollapsed) focus(token);
  });

  document.addEventListener("focusin", ({ target }) => {
    const token = tokenOf(target);
    if (!token) return;
    show(token);
    said.textContent = [...card.querySelectorAll("dl > *")].map((each) => each.textContent).join(" ");
  });
  document.addEventListener("focusout", ({ relatedTarget }) => {
    if (!tokenOf(relatedTarget)) hide();
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    const token = tokenOf(event.target);
    if (!token || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const other = next(token, event.key);
    if (!other) return;
    event.preventDefault();
    focus(other);
  });

  document.addEventListener("scroll", place, { capture: true, passive: true });
  document.addEventListener("htmx:afterSwap", place);
  window.addEventListener("resize", place);
})();
