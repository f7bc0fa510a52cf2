// Follows the agent and draws what it says, at most a few times a second.

import { drawDetail } from "./detail.js";
import { Events } from "./events.js";
import { drawHead } from "./head.js";
import { Picture } from "./picture.js";
import { Switch } from "./switch.js";
import { Table } from "./table.js";
import { clean, naturalKey } from "./text.js";

const EVERY = 200; // milliseconds between two drawings

const state = new Switch();
const find = (id) => document.getElementById(id);
const picture = new Picture(find("picture"), choose);
const table = new Table(find("table"), choose);
const events = new Events(find("events"));
let chosen = null; // the port whose facts are shown

let due = false;
let drawnAt = 0;

function soon() {
  if (due) return;
  due = true;
  setTimeout(() => requestAnimationFrame(draw), Math.max(0, drawnAt + EVERY - performance.now()));
}

function draw() {
  due = false;
  drawHead(state);
  drawTable();
  picture.update(state);
  events.update(state.events);
  drawChosen();
  drawnAt = performance.now();
  document.body.dataset.drawn = String(Number(document.body.dataset.drawn ?? 0) + 1);
}

function drawTable() {
  const ports = state.sorted();
  options("filter-kind", ports.map((port) => port.kind));
  options("filter-state", ports.map((port) => port.state));
  options("filter-bridge", ports.map((port) => port.bridge ?? ""));
  const [text, kind, name, bridge] = ["text", "kind", "state", "bridge"].map((one) => find(`filter-${one}`).value);
  const wanted = text.trim().toLowerCase();
  const rows = ports.filter(
    (port) =>
      (!kind || port.kind === kind) &&
      (!name || port.state === name) &&
      (!bridge || port.bridge === bridge) &&
      (!wanted || haystack(port).includes(wanted)),
  );
  const found = rows.length === ports.length ? `${ports.length} ports` : `${rows.length} of ${ports.length} ports`;
  if (find("found").textContent !== found) find("found").textContent = found;
  table.show(rows);
}

const haystacks = new WeakMap();

function haystack(port) {
  let text = haystacks.get(port);
  if (text === undefined) {
    text = [port.name, port.kind, port.state, port.bridge, port.mac_in_use, port.error, port.uuid, ...Object.values(port.attributes ?? {})]
      .join(" ")
      .toLowerCase();
    haystacks.set(port, text);
  }
  return text;
}

function options(id, values) {
  const select = find(id);
  const names = [...new Set(values)].filter(Boolean).sort((a, b) => (naturalKey(a) < naturalKey(b) ? -1 : 1));
  if (select.value && !names.includes(select.value)) names.push(select.value);
  const text = names.join("\n");
  if (select.dataset.names === text) return;
  select.dataset.names = text;
  const value = select.value;
  const made = names.map((name) => {
    const option = document.createElement("option");
    option.value = name;
    option.textContent = clean(name, 40);
    return option;
  });
  select.replaceChildren(select.firstElementChild, ...made);
  select.value = value;
}

function choose(uuid) {
  const port = state.ports.get(uuid);
  if (!port) return;
  chosen = port;
  const { iface_id: vif } = port.attributes ?? {};
  const link = vif ? `#iface-id=${encodeURIComponent(vif)}` : `#name=${encodeURIComponent(port.name)}`;
  if (location.hash !== link) history.replaceState(null, "", link);
  drawChosen();
  find("detail-title").focus();
  find("detail").scrollIntoView({ block: "nearest" });
}

function drawChosen() {
  if (!chosen) chosen = linked();
  find("detail").hidden = !chosen;
  if (!chosen) return;
  const now = state.ports.get(chosen.uuid) ?? linked();
  if (now) chosen = now;
  drawDetail(chosen, state.eventsOf(chosen.uuid), Boolean(now));
}

/** The port that the address of this page names. */
function linked() {
  const [key, value] = location.hash.slice(1).split("=");
  if (!value) return null;
  let wanted;
  try {
    wanted = decodeURIComponent(value);
  } catch {
    return null;
  }
  const ports = state.sorted();
  if (key === "iface-id") {
    const named = ports.filter((port) => port.attributes?.iface_id === wanted);
    return named.find((port) => port.type !== "patch" && port.state === "ready") ?? named[0] ?? null;
  }
  return key === "name" ? (ports.find((port) => port.name === wanted) ?? null) : null;
}

for (const one of ["text", "kind", "state", "bridge"]) find(`filter-${one}`).addEventListener("input", soon);
find("filter").addEventListener("submit", (event) => event.preventDefault());
find("detail-close").addEventListener("click", () => {
  chosen = null;
  history.replaceState(null, "", location.pathname + location.search);
  find("detail").hidden = true;
  find("table-title").focus();
});
find("picture").addEventListener("fold", soon);
window.addEventListener("hashchange", () => {
  chosen = null;
  soon();
});
state.addEventListener("change", soon);
state.follow("events");
state.remember("past");
soon();
