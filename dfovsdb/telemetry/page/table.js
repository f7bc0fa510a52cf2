// The table: the rows that are seen are the rows that are drawn.

import { clean, element, identity, word } from "./text.js";

const HEIGHT = 28; // pixels of a row, as in style.css
const COLUMNS = [
  ["name", (p) => clean(p.name, 80)],
  ["kind", (p) => clean(p.kind, 20)],
  ["state", (p) => p.state],
  ["bridge", (p) => clean(p.bridge ?? "", 40)],
  ["link", (p) => p.link_state ?? ""],
  ["ofport", (p) => String(p.ofport ?? "")],
  ["identity", identity],
  ["mac", (p) => clean(p.mac_in_use ?? "", 20)],
];

export class Table {
  #rows = [];
  #pool = [];
  #body;
  #view;
  #selected = 0;
  #choose;

  constructor(root, choose) {
    this.#choose = choose;
    const head = element("div", { role: "row", class: "row head" });
    for (const [name] of COLUMNS) head.append(element("span", { role: "columnheader" }, name));
    this.#body = element("div", { role: "rowgroup", class: "body" });
    this.#view = element("div", { role: "table", class: "view", tabindex: "0", "aria-label": "Ports" });
    this.#view.append(element("div", { role: "rowgroup" }, head), this.#body);
    root.append(this.#view);
    this.#view.addEventListener("scroll", () => this.#draw(), { passive: true });
    this.#view.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#draw()).observe(this.#view);
  }

  show(rows) {
    this.#rows = rows;
    this.#selected = Math.min(this.#selected, Math.max(0, rows.length - 1));
    this.#view.setAttribute("aria-rowcount", String(rows.length + 1));
    this.#body.style.height = `${rows.length * HEIGHT}px`;
    this.#draw();
  }

  #draw() {
    const first = Math.max(0, Math.floor(this.#view.scrollTop / HEIGHT) - 5);
    const count = Math.min(this.#rows.length - first, Math.ceil(this.#view.clientHeight / HEIGHT) + 10);
    while (this.#pool.length < count) this.#pool.push(this.#newRow());
    this.#pool.forEach((row, index) => {
      row.hidden = index >= count;
      if (!row.hidden) this.#fill(row, first + index);
    });
  }

  #newRow() {
    const row = element("div", { role: "row" });
    for (const _ of COLUMNS) row.append(element("bdi", { role: "cell" }));
    row.addEventListener("click", () => this.#choose(row.dataset.uuid));
    this.#body.append(row);
    return row;
  }

  #fill(row, index) {
    const port = this.#rows[index];
    row.dataset.uuid = port.uuid;
    row.style.transform = `translateY(${index * HEIGHT}px)`;
    row.className = `row state-${word(port.state)}${index === this.#selected ? " selected" : ""}`;
    row.setAttribute("aria-rowindex", String(index + 2));
    COLUMNS.forEach(([, read], column) => {
      const text = read(port);
      const cell = row.children[column];
      if (cell.textContent !== text) cell.textContent = text;
    });
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -1e9, End: 1e9 }[event.key];
    if (step !== undefined) {
      this.#selected = Math.max(0, Math.min(this.#rows.length - 1, this.#selected + step));
      const top = this.#selected * HEIGHT;
      const room = this.#view.clientHeight - 2 * HEIGHT;
      if (top < this.#view.scrollTop) this.#view.scrollTop = top;
      else if (top > this.#view.scrollTop + room) this.#view.scrollTop = top - room;
      this.#draw();
      event.preventDefault();
    } else if (event.key === "Enter" && this.#rows[this.#selected]) {
      this.#choose(this.#rows[this.#selected].uuid);
      event.preventDefault();
    }
  }
}
