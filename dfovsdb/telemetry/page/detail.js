// Every fact of one port, and what happened to it.

import { clean, clock, duration, element } from "./text.js";

const FACTS = [
  "kind", "type", "state", "error", "bridge", "tag", "trunks", "bond", "ofport", "admin_state",
  "link_state", "mac_in_use", "uuid",
];

/** The changed fields of an event, as text. */
export function changes(event) {
  return Object.entries(event.changed ?? {})
    .map(([field, [before, now]]) => `${clean(field, 40)} ${shown(before)} → ${shown(now)}`)
    .join(", ");
}

export function shown(value) {
  if (value === null || value === undefined || value === "") return "–";
  return clean(typeof value === "object" ? JSON.stringify(value) : value, 300);
}

export function drawDetail(port, events, isThere) {
  const title = document.getElementById("detail-title");
  const name = clean(port.name, 80) + (isThere ? "" : " (gone)");
  if (title.textContent !== name) title.textContent = name;
  const facts = FACTS.filter((fact) => port[fact] !== null && port[fact] !== undefined).map((fact) => [fact, port[fact]]);
  const attributes = Object.entries(port.attributes ?? {}).filter(([, value]) => value !== null);
  document.getElementById("facts").replaceChildren(
    ...[...facts, ...attributes].flatMap(([fact, value]) => [
      element("dt", {}, clean(fact, 60)),
      element("dd", {}, element("bdi", {}, shown(value))),
    ]),
  );
  const lines = events.map((event, index) => {
    const before = events[index + 1];
    const wait = before ? duration((new Date(event.time) - new Date(before.time)) / 1000) : "";
    return element(
      "li",
      {},
      `${clock(event.time)} ${event.action} ${changes(event)}${wait ? ` (${wait} later)` : ""}`,
    );
  });
  if (!lines.length) lines.push(element("li", { class: "quiet" }, "Nothing since this page was opened."));
  document.getElementById("history").replaceChildren(...lines);
}
