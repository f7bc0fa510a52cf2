// The last events, the newest first.

import { changes } from "./detail.js";
import { clean, clock, element, identity, word } from "./text.js";

const SHOWN = 200;

export class Events {
  #list;
  #line;
  #drawn = null; // the newest event that is drawn

  /** @param before returns the elements before an event: which host it is of, on the page of all */
  constructor(list, before = () => []) {
    this.#list = list;
    this.#line = (event) => line(event, before(event));
  }

  update(events) {
    const behind = this.#list.children.length < Math.min(events.length, SHOWN);
    let upTo = this.#drawn === null ? -1 : events.indexOf(this.#drawn);
    if (upTo === 0 && behind) upTo = -1; // older ones have become known
    const fresh = (upTo < 0 ? events : events.slice(0, upTo)).slice(0, SHOWN);
    if (!fresh.length) return;
    if (upTo < 0 || fresh.length >= SHOWN) this.#list.replaceChildren();
    this.#list.prepend(...fresh.map(this.#line));
    while (this.#list.children.length > SHOWN) this.#list.lastChild.remove();
    this.#drawn = events[0];
  }
}

function line(event, before) {
  if (!event.port) {
    const text = event.action === "sync_started" ? "sync started" : `sync finished, ${event.ports} ports`;
    return element("li", { class: "quiet" }, ...before, `${clock(event.time)} ${text} (${clean(event.origin, 20)})`);
  }
  const { port } = event;
  return element(
    "li",
    { class: `action-${word(event.action)} state-${word(port.state)}` },
    ...before,
    `${clock(event.time)} ${event.action} ${clean(port.kind, 20)} `,
    element("bdi", {}, clean(port.name, 60)),
    ` ${event.action === "updated" ? changes(event) : identity(port)}${port.error ? ` ${clean(port.error, 200)}` : ""}`,
  );
}
