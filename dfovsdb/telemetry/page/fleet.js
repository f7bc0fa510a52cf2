// The hosts of a cloud, where a VIF is, and what cannot be true.

import { Events } from "./events.js";
import { clean, element, naturalKey, word } from "./text.js";

const EVERY = 5000; // milliseconds between two looks at the hosts
const SELDOM = 60000; // and at the conflicts, for which the servers read every VIF
const MOST = 2000; // hosts that are drawn
const MOST_EVENTS = 1000; // remembered by this page

const find = (id) => document.getElementById(id);
let hosts = [];

async function get(path) {
  const answer = await fetch(path);
  const text = await answer.text();
  if (!answer.ok) throw new Error(text.trim());
  return JSON.parse(text);
}

async function look() {
  try {
    hosts = await get("hosts");
    find("banner").hidden = true;
    draw();
  } catch (error) {
    find("banner").textContent = `The hosts cannot be read now: ${clean(error.message, 500)}`;
    find("banner").hidden = false;
  }
  setTimeout(look, EVERY);
}

/** Hosts with a problem first, then in natural order. */
function rank(host) {
  return `${host.fresh ? (host.connection === "synced" ? 2 : 1) : 0} ${naturalKey(host.host)}`;
}

function draw() {
  const stale = hosts.filter((host) => !host.fresh).length;
  const ports = hosts.reduce((sum, host) => sum + host.ports, 0);
  const condition = `${hosts.length} hosts, ${hosts.length - stale} fresh, ${stale} stale: ${ports} ports`;
  if (find("condition").textContent !== condition) find("condition").textContent = condition;
  find("condition").className = stale ? "wrong" : "fine";
  const wanted = find("filter-text").value.trim().toLowerCase();
  const rows = hosts
    .filter((host) => !wanted || `${host.host} ${host.connection} ${host.version}`.toLowerCase().includes(wanted))
    .map((host) => [rank(host), host])
    .sort((a, b) => (a[0] < b[0] ? -1 : 1))
    .slice(0, MOST)
    .map((pair) => row(pair[1]));
  find("hosts").tBodies[0].replaceChildren(...rows);
}

function row(host) {
  const wrong = !host.fresh || host.connection !== "synced";
  const cells = [
    element("bdi", {}, link(host.host)),
    host.fresh ? "fresh" : "stale",
    String(host.ports),
    host.last ? new Date(host.last).toLocaleString() : "never",
    clean(host.version ?? "", 30),
    clean(host.connection ?? "", 200),
  ];
  return element("tr", wrong ? { class: `state-${host.fresh ? "pending" : "failed"}` } : {}, ...cells.map((cell) => element("td", {}, cell)));
}

function link(host, rest = "") {
  return element("a", { href: `host/${encodeURIComponent(host)}/${rest}` }, clean(host, 80));
}

async function where(event) {
  event.preventDefault();
  const vif = find("iface-id").value.trim();
  if (!vif) return;
  const list = find("claims");
  try {
    const claims = await get(`where?iface_id=${encodeURIComponent(vif)}`);
    const items = claims.map((claim) => {
      const notes = [claim.port.state, claim.fresh ? "" : "the agent is stale", claim.installed ? "installed by OVN" : "", claim.active ? "active" : ""];
      return element(
        "li",
        { class: `state-${word(claim.fresh ? claim.port.state : "failed")}` },
        link(claim.host, `#iface-id=${encodeURIComponent(vif)}`),
        `: ${clean(claim.port.name, 80)}, ${clean(claim.port.kind, 20)}, ${notes.filter(Boolean).join(", ")}`,
      );
    });
    list.replaceChildren(...(items.length ? items : [element("li", {}, `No host claims ${clean(vif, 80)}.`)]));
  } catch (error) {
    list.replaceChildren(element("li", { class: "state-failed" }, clean(error.message, 500)));
  }
}

async function conflicts() {
  let items;
  try {
    items = (await get("conflicts")).map((one) => element("li", { class: "state-failed" }, `${one.kind} ${clean(one.what, 80)} ${clean(one.text, 500)}`));
    if (!items.length) items = [element("li", { class: "quiet" }, "There is none.")];
  } catch (error) {
    items = [element("li", { class: "state-failed" }, clean(error.message, 500))];
  }
  find("conflicts").replaceChildren(...items);
  setTimeout(conflicts, SELDOM);
}

/** Follow the events of all hosts; after a lost connection the browser asks for what came since. */
function follow() {
  const list = new Events(find("events"), (event) => [link(event.host), " "]);
  const known = [];
  let fresh = [];
  const drawn = () => {
    known.unshift(...fresh.reverse());
    known.length = Math.min(known.length, MOST_EVENTS);
    fresh = [];
    list.update(known);
  };
  const say = (text) => {
    if (find("events-condition").textContent !== text) find("events-condition").textContent = text;
  };
  const source = new EventSource("events");
  source.addEventListener("port", (message) => {
    if (!fresh.length) requestAnimationFrame(drawn);
    fresh.push(JSON.parse(message.data));
    if (fresh.length > MOST_EVENTS) fresh.shift();
  });
  source.addEventListener("status", (message) => {
    const problem = JSON.parse(message.data);
    say(problem ? `The log cannot be read now: ${clean(problem, 500)}` : "");
  });
  source.addEventListener("error", () => {
    say("dfovsdb fleet web cannot be reached: what is shown is the last that it said.");
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 2000); // the browser has given up
  });
}

find("where").addEventListener("submit", where);
find("filter").addEventListener("submit", (event) => event.preventDefault());
find("filter-text").addEventListener("input", draw);
look();
conflicts();
follow();
