// Text for people. Every string of the database passes clean(), and is only ever text in the page.

// Control characters, invisible ones and those that turn the direction of writing.
const UNSEEN =
  /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f]|\udb40[\udd00-\uddef]/gu;

/** The text with everything that cannot be seen written as an escape, and cut at a length. */
export function clean(value, longest = 200) {
  let text = String(value);
  if (text.length > longest) text = `${text.slice(0, longest)}…`;
  return text.replace(UNSEEN, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

/** A key that sorts as a person would: tap2 before tap10. */
export function naturalKey(text) {
  return text.toLowerCase().replace(/\d{1,15}/g, (digits) => digits.padStart(16, "0"));
}

export function clock(iso) {
  const time = new Date(iso);
  return Number.isNaN(time.valueOf()) ? clean(iso, 40) : time.toLocaleTimeString();
}

/** Seconds between two times, as a few characters. */
export function duration(seconds) {
  if (!(seconds >= 0)) return "";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

/** Who a port is: the VIF, the remote end, the peer. */
export function identity(port) {
  const a = port.attributes ?? {};
  const pod = a.pod ? `${a.namespace ? `${a.namespace}/` : ""}${a.pod}` : null;
  const text = pod ?? a.iface_id ?? a.remote_ip ?? a.peer ?? a.vm_id ?? "";
  return clean(text, 80);
}

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** A class name from a string of the database: only letters and digits of it. */
export function word(text) {
  return String(text).replace(/[^a-z0-9]/gi, "-").slice(0, 30);
}
