// The head: host, connection, counts and sinks.

import { clean, element, word } from "./text.js";

export function drawHead(state) {
  const { status } = state;
  const banner = document.getElementById("banner");
  banner.hidden = state.reachable;
  if (!state.reachable) {
    banner.textContent = state.lastSeen
      ? `The agent cannot be reached. What is shown is from ${state.lastSeen.toLocaleTimeString()}.`
      : "The agent cannot be reached.";
  }
  if (status) {
    document.getElementById("host").textContent = clean(status.host);
    document.title = `${clean(status.host, 40)} - dfovsdb`;
    const condition = document.getElementById("condition");
    const text = `${clean(status.connection)}: ${clean(status.condition, 500)}`;
    if (condition.textContent !== text) condition.textContent = text;
    condition.className = status.synced ? "fine" : "wrong";
  }
  drawCounts(state);
  drawSinks(status?.sinks ?? []);
}

function drawCounts(state) {
  const counts = new Map();
  const states = new Map();
  for (const port of state.ports.values()) {
    counts.set(port.kind, (counts.get(port.kind) ?? 0) + 1);
    if (port.state !== "ready") states.set(port.state, (states.get(port.state) ?? 0) + 1);
  }
  const items = [...counts].sort().map(([kind, count]) => item(`${clean(kind, 20)}: ${count}`));
  for (const [name, count] of [...states].sort()) items.push(item(`${name}: ${count}`, `state-${word(name)}`));
  if (state.status?.of_no_kind) items.push(item(`of no kind: ${state.status.of_no_kind}`, "quiet"));
  replace("counts", items);
}

function drawSinks(sinks) {
  replace(
    "sinks",
    sinks.map((sink) =>
      item(
        `${clean(sink.name, 30)}: ${sink.available ? `${sink.delivered} delivered` : "unavailable"}` +
          (sink.queued ? `, ${sink.queued} waiting` : ""),
        sink.available ? "" : "state-failed",
      ),
    ),
  );
}

function item(text, className) {
  return element("li", className ? { class: className } : {}, text);
}

function replace(id, items) {
  const list = document.getElementById(id);
  const text = items.map((one) => `${one.className}|${one.textContent}`).join("\n");
  if (list.dataset.text === text) return;
  list.dataset.text = text;
  list.replaceChildren(...items);
}
