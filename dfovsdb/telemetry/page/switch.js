// The ports as the agent has them, kept current by server-sent events.

import { naturalKey } from "./text.js";

const MOST_EVENTS = 1000; // remembered by this page
const TROUBLE = { failed: 0, gone: 1, pending: 2 };

/** An event is the same in the stream and in a file, where its number is another. */
const identityOf = (event) => `${event.time} ${event.action} ${event.port?.uuid ?? event.origin}`;

export class Switch extends EventTarget {
  ports = new Map(); // by uuid
  events = []; // the newest first
  status = null;
  reachable = false;
  lastSeen = null; // when the agent was heard last
  #sorted = null;

  follow(url) {
    const source = new EventSource(url);
    source.addEventListener("open", () => this.#heard());
    source.addEventListener("error", () => {
      this.reachable = false;
      this.#changed();
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(() => this.follow(url), 2000); // the browser has given up
      }
    });
    source.addEventListener("picture", (message) => {
      const ports = JSON.parse(message.data);
      this.ports = new Map(ports.map((port) => [port.uuid, port]));
      this.#heard();
    });
    source.addEventListener("port", (message) => {
      this.#take(JSON.parse(message.data));
      this.#heard();
    });
    source.addEventListener("status", (message) => {
      this.status = JSON.parse(message.data);
      this.#heard();
    });
  }

  /** Add what happened before this page was opened, where that is known. */
  async remember(url) {
    try {
      const answer = await fetch(url);
      if (!answer.ok) return;
      const known = new Set(this.events.map(identityOf));
      this.events.push(...(await answer.json()).filter((event) => !known.has(identityOf(event))));
      this.events.length = Math.min(this.events.length, MOST_EVENTS);
      this.#changed();
    } catch {
      // the past is an extra: what is live is shown without it
    }
  }

  #take(event) {
    if (event.port) {
      if (event.action === "offline") this.ports.delete(event.port.uuid);
      else this.ports.set(event.port.uuid, event.port);
    }
    this.events.unshift(event);
    if (this.events.length > MOST_EVENTS) this.events.length = MOST_EVENTS;
  }

  #heard() {
    this.reachable = true;
    this.lastSeen = new Date();
    this.#changed();
  }

  #changed() {
    this.#sorted = null;
    this.dispatchEvent(new Event("change"));
  }

  /** All ports: failures first, then by bridge and name, in natural order. */
  sorted() {
    this.#sorted ??= [...this.ports.values()]
      .map((port) => [
        `${TROUBLE[port.state] ?? 3} ${naturalKey(port.bridge ?? "")} ${naturalKey(port.name)} ${port.uuid}`,
        port,
      ])
      .sort((a, b) => (a[0] < b[0] ? -1 : 1))
      .map((pair) => pair[1]);
    return this.#sorted;
  }

  eventsOf(uuid) {
    return this.events.filter((event) => event.port?.uuid === uuid);
  }
}
