/** Values as people read them. */

import { h } from "./dom.js";

const MINUTE_MS = 60_000;
const SHOWN = 20_000;

export const whole = (count) => (count === null || count === undefined ? "" : count.toLocaleString());

export const number = (value) => (Number.isInteger(value) ? value.toLocaleString() : String(+value.toPrecision(4)));

export const signed = (value) => (value > 0 ? "+" : "") + number(value);

export function money(amount, currency) {
  if (amount === null || amount === undefined) return "";
  const digits = amount !== 0 && Math.abs(amount) < 0.01 ? 6 : 2;
  return `${amount.toFixed(digits)} ${currency ?? ""}`.trim();
}

export function duration(ms) {
  if (ms === null || Number.isNaN(ms)) return "";
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 1000) return `${+ms.toPrecision(3)} ms`;
  if (ms < MINUTE_MS) return `${(ms / 1000).toFixed(2)} s`;
  const minutes = Math.floor(ms / MINUTE_MS);
  return minutes < 120 ? `${minutes} min ${Math.round((ms % MINUTE_MS) / 1000)} s` : `${(minutes / 60).toFixed(1)} h`;
}

/** Milliseconds since the epoch, with their fraction: Date drops what is below a millisecond. */
export function instant(iso) {
  const [, seconds, fraction = ""] = /^(.*?)(\.\d+)?Z$/.exec(iso) ?? [null, iso];
  return Date.parse(`${seconds}Z`) + (fraction ? Number(fraction) * 1000 : 0);
}

/** When something was: the time alone today, with its day before. */
export function when(iso) {
  const date = new Date(iso);
  const today = date.toDateString() === new Date().toDateString();
  return h("time", { datetime: iso, title: iso }, today ? date.toLocaleTimeString() : date.toLocaleString());
}

/** A text as it is, JSON indented. */
export function pretty(value) {
  if (typeof value !== "string") return JSON.stringify(value, null, 2) ?? "";
  if (!/^\s*[[{]/.test(value)) return value;
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value;
  }
}

/** The beginning, on one line. */
export function brief(value, length = 140) {
  if (value === null || value === undefined) return "";
  const text = (typeof value === "string" ? value : JSON.stringify(value))
    .slice(0, 4 * length)
    .replace(/\s+/g, " ")
    .trim();
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

/** A text in full; of a very long one the rest comes when asked for. */
export function block(value) {
  const text = pretty(value);
  const content = h("pre", { tabindex: "0" }, text.slice(0, SHOWN));
  if (text.length <= SHOWN) return content;
  const more = h("button", { type: "button", class: "quiet" }, `Show all ${whole(text.length)} characters`);
  more.addEventListener("click", () => {
    content.textContent = text;
    more.remove();
  });
  return h("div", {}, content, more);
}

export const chip = (...content) => h("span", { class: "chip" }, ...content);
