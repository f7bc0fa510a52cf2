// The picture: bridges with their ports, patch pairs as lines, tunnels to their remote ends.
//
// Elements are kept by key and only changed where something changed, so nothing jumps.

import { clean, element, identity, naturalKey, word } from "./text.js";

const FOLD = 12; // ports of one kind on one bridge that are shown one by one
const FOLD_MANY = 4; // the same where there are many ports
const MANY = 150;
const ORDER = ["bridge", "uplink", "patch", "tunnel", "service", "vm", "pod"];
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const SVG = "http://www.w3.org/2000/svg";

export class Picture {
  #root;
  #boxes = new Map(); // bridge name -> its elements
  #open = new Set(); // folds that were opened
  #choose;
  #lines;

  constructor(root, choose) {
    this.#root = root;
    this.#choose = choose;
    this.#lines = document.createElementNS(SVG, "svg");
    this.#lines.setAttribute("class", "lines");
    this.#lines.setAttribute("aria-hidden", "true");
    this.bridges = element("div", { class: "bridges" });
    root.append(this.#lines, this.bridges);
    new ResizeObserver(() => this.#draw?.()).observe(root);
  }

  #draw = null;

  update(state) {
    const ports = state.sorted();
    const fold = ports.length > MANY ? FOLD_MANY : FOLD;
    const bridges = new Map();
    for (const port of ports) {
      const name = port.bridge ?? "";
      if (!bridges.has(name)) bridges.set(name, []);
      bridges.get(name).push(port);
    }
    const names = [...bridges.keys()].sort((a, b) => (naturalKey(a) < naturalKey(b) ? -1 : 1));
    for (const [name, box] of this.#boxes) {
      if (!bridges.has(name)) {
        box.root.remove();
        this.#boxes.delete(name);
      }
    }
    names.forEach((name, index) => {
      const box = this.#boxes.get(name) ?? this.#newBox(name);
      if (this.bridges.children[index] !== box.root) {
        this.bridges.insertBefore(box.root, this.bridges.children[index] ?? null);
      }
      this.#fill(name, box, bridges.get(name), fold);
    });
    if (!ports.length) this.#root.dataset.empty = "There are no ports.";
    else delete this.#root.dataset.empty;
    this.#draw = () => this.#drawLines(ports);
    requestAnimationFrame(this.#draw);
  }

  #newBox(name) {
    const title = name ? clean(name, 60) : "ports whose bridge is not known";
    const bridge = element("section", { class: "bridge", "aria-label": `Bridge ${title}` });
    const body = element("div", { class: "groups" });
    bridge.append(element("h3", {}, element("bdi", {}, title)), body);
    const remotes = element("ul", { class: "remotes", "aria-label": `Remote ends of the tunnels of ${title}` });
    const root = element("div", { class: "column" }, bridge, remotes);
    const box = { root, body, remotes, groups: new Map() };
    this.#boxes.set(name, box);
    return box;
  }

  #fill(name, box, ports, fold) {
    const kinds = new Map();
    for (const port of ports) {
      if (!kinds.has(port.kind)) kinds.set(port.kind, []);
      kinds.get(port.kind).push(port);
    }
    drawRemotes(box.remotes, kinds.get("tunnel") ?? []);
    const place = (kind) => (ORDER.includes(kind) ? ORDER.indexOf(kind) : ORDER.length);
    const order = [...kinds.keys()].sort((a, b) => place(a) - place(b) || (a < b ? -1 : 1));
    for (const [kind, group] of box.groups) {
      if (!kinds.has(kind)) {
        group.root.remove();
        box.groups.delete(kind);
      }
    }
    order.forEach((kind, index) => {
      let group = box.groups.get(kind);
      if (!group) {
        group = { root: element("div", { class: `group kind-${word(kind)}` }), chips: new Map() };
        box.groups.set(kind, group);
      }
      if (box.body.children[index] !== group.root) {
        box.body.insertBefore(group.root, box.body.children[index] ?? null);
      }
      this.#fillGroup(`${name}\n${kind}`, group, kind, kinds.get(kind), fold);
    });
  }

  #fillGroup(key, group, kind, ports, fold) {
    const folded = ports.length > fold && !this.#open.has(key);
    const shown = folded ? ports.filter((port) => port.state !== "ready").slice(0, fold) : ports.slice(0, 300);
    const wanted = new Set(shown.map((port) => port.uuid));
    for (const [uuid, chip] of group.chips) {
      if (!wanted.has(uuid)) {
        chip.remove();
        group.chips.delete(uuid);
      }
    }
    shown.forEach((port, index) => {
      let chip = group.chips.get(port.uuid);
      if (!chip) {
        chip = element("button", { type: "button" });
        chip.addEventListener("click", () => this.#choose(chip.dataset.uuid));
        group.chips.set(port.uuid, chip);
      }
      dress(chip, port);
      if (group.root.children[index] !== chip) group.root.insertBefore(chip, group.root.children[index] ?? null);
    });
    const rest = ports.length - shown.length;
    if (ports.length > fold) {
      group.count ??= this.#newCount(key);
      const text = folded ? `${rest} ${clean(kind, 20)}${shown.length ? " more" : ""}, show` : `hide ${clean(kind, 20)}`;
      if (group.count.textContent !== text) group.count.textContent = text;
      group.count.setAttribute("aria-expanded", String(!folded));
      group.root.append(group.count);
    } else if (group.count) {
      group.count.remove();
      group.count = null;
    }
  }

  #newCount(key) {
    const count = element("button", { type: "button", class: "count" });
    count.addEventListener("click", () => {
      if (this.#open.has(key)) this.#open.delete(key);
      else this.#open.add(key);
      count.dispatchEvent(new CustomEvent("fold", { bubbles: true }));
    });
    return count;
  }

  /** Patch pairs as curves and tunnels as dashes between what is on the screen. */
  #drawLines(ports) {
    const frame = this.#root.getBoundingClientRect();
    const byName = new Map(ports.filter((p) => p.kind === "patch").map((p) => [p.name, p]));
    const paths = [];
    for (const port of ports) {
      if (port.kind === "patch") {
        const peer = byName.get(port.attributes?.peer);
        if (peer && peer.bridge !== port.bridge && port.name < peer.name) {
          paths.push([this.#at(port), this.#at(peer), "patch"]);
        }
      } else if (port.kind === "tunnel" && port.attributes?.remote_ip && paths.length < 400) {
        const { remotes } = this.#boxes.get(port.bridge ?? "");
        const remote = [...remotes.children].find((li) => li.dataset.remote === port.attributes.remote_ip);
        if (remote) paths.push([this.#at(port), remote, "tunnel"]);
      }
    }
    const drawn = paths
      .filter(([from, to]) => from && to)
      .map(([from, to, kind]) => [curve(from.getBoundingClientRect(), to.getBoundingClientRect(), frame), kind]);
    const text = drawn.map((one) => one.join(" ")).join("\n");
    if (this.#lines.dataset.text === text) return;
    this.#lines.dataset.text = text;
    this.#lines.replaceChildren(
      ...drawn.map(([d, kind]) => {
        const path = document.createElementNS(SVG, "path");
        path.setAttribute("d", d);
        path.setAttribute("class", kind);
        return path;
      }),
    );
  }

  #at(port) {
    const group = this.#boxes.get(port.bridge ?? "")?.groups.get(port.kind);
    return group?.chips.get(port.uuid) ?? group?.count ?? null;
  }
}

/** The remote ends of the tunnels of one bridge, below it. */
function drawRemotes(list, tunnels) {
  const remotes = new Set(tunnels.map((port) => port.attributes?.remote_ip).filter(Boolean));
  const names = [...remotes].sort((a, b) => (naturalKey(a) < naturalKey(b) ? -1 : 1)).slice(0, 100);
  const text = names.join("\n");
  if (list.dataset.names === text) return;
  list.dataset.names = text;
  list.replaceChildren(...names.map((name) => element("li", { "data-remote": name }, element("bdi", {}, clean(name, 60)))));
}

function dress(chip, port) {
  const who = identity(port);
  const name = clean(port.name, 40);
  const label = `${name}, ${clean(port.kind, 20)}, ${port.state}${who ? `, ${who}` : ""}${port.error ? `, ${clean(port.error, 200)}` : ""}`;
  if (chip.dataset.label === label && chip.dataset.uuid === port.uuid) return;
  chip.dataset.label = label;
  chip.dataset.uuid = port.uuid;
  chip.className = `chip kind-${word(port.kind)} state-${word(port.state)}`;
  chip.title = label;
  chip.replaceChildren(
    element("bdi", { class: "name" }, name),
    ...(who && who !== name ? [element("bdi", { class: "who" }, UUID.test(who) ? `${who.slice(0, 13)}…` : who)] : []),
    element("span", { class: "spoken" }, `, ${label.slice(name.length + 2)}`),
  );
}

function curve(from, to, frame) {
  const [x1, y1] = [from.left + from.width / 2 - frame.left, from.bottom - frame.top];
  const [x2, y2] = [to.left + to.width / 2 - frame.left, (to.top > from.bottom ? to.top : to.bottom) - frame.top];
  if (to.top > from.bottom) return `M${x1.toFixed(0)} ${y1.toFixed(0)} L${x2.toFixed(0)} ${y2.toFixed(0)}`;
  const lift = Math.min(60, Math.abs(x2 - x1) / 3 + 12);
  return `M${x1.toFixed(0)} ${y1.toFixed(0)} C${x1.toFixed(0)} ${(y1 + lift).toFixed(0)} ${x2.toFixed(0)} ${(y2 + lift).toFixed(0)} ${x2.toFixed(0)} ${y2.toFixed(0)}`;
}
