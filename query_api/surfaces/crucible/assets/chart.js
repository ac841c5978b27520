/** A line over steps or time, drawn, with the value at each point for pointer and keyboard. */

import { h, svg } from "./dom.js";
import { number } from "./format.js";

const WIDE = 420;
const TALL = 190;
const LEFT = 52;
const RIGHT = 12;
const TOP = 12;
const BOTTOM = 26;
const PARTS = 4;

/** `points` are `[x, y]` with x rising, at least one; `along` says an x in words. */
export function chart(name, points, along) {
  const [first, last] = [points[0], points.at(-1)];
  const ys = scale(points.map(([, y]) => y));
  const x = (value) => LEFT + ((WIDE - LEFT - RIGHT) * (value - first[0])) / (last[0] - first[0] || 1);
  const y = (value) => TALL - BOTTOM - ((TALL - TOP - BOTTOM) * (value - ys.low)) / (ys.high - ys.low);
  const shown = h("output", { class: "dim" });
  const mark = svg("circle", { r: 4, class: "point" });
  let at = points.length - 1;

  const choose = (index) => {
    at = Math.max(0, Math.min(points.length - 1, index));
    const [px, py] = points[at];
    mark.setAttribute("cx", x(px));
    mark.setAttribute("cy", y(py));
    shown.textContent = `${number(py)} at ${along(px)}`;
  };
  const label = `${name}: ${number(first[1])} at ${along(first[0])} to ${number(last[1])} at ${along(last[0])}`;
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${WIDE} ${TALL}`, class: "chart", role: "img", "aria-label": label, tabindex: "0" },
    ys.ticks.map((tick) => [
      svg("line", { x1: LEFT, x2: WIDE - RIGHT, y1: y(tick), y2: y(tick), class: "grid" }),
      svg("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, number(tick)),
    ]),
    svg("text", { x: LEFT, y: TALL - 6 }, along(first[0])),
    points.length > 1 && svg("text", { x: WIDE - RIGHT, y: TALL - 6, "text-anchor": "end" }, along(last[0])),
    svg("polyline", { class: "line", points: points.map(([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`).join(" ") }),
    mark,
  );
  drawing.addEventListener("pointermove", (event) => {
    const { left, width } = drawing.getBoundingClientRect();
    choose(nearest(points, ((event.clientX - left) / width) * WIDE, x));
  });
  drawing.addEventListener("pointerleave", () => choose(points.length - 1));
  drawing.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -points.length, End: points.length }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    choose(at + by);
  });
  choose(at);
  return h("figure", {}, h("figcaption", {}, h("b", {}, name), " ", shown), drawing);
}

/** An axis that holds all values, and round numbers on it. */
function scale(values) {
  let low = values.reduce((least, each) => Math.min(least, each));
  let high = values.reduce((most, each) => Math.max(most, each));
  if (low === high) [low, high] = low === 0 ? [-1, 1] : [low - Math.abs(low) / 10, high + Math.abs(high) / 10];
  const rough = (high - low) / PARTS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((each) => each * power >= rough);
  const from = Math.ceil(low / step);
  const ticks = Array.from({ length: Math.floor(high / step) - from + 1 }, (_, index) => (from + index) * step);
  return { low, high, ticks };
}

function nearest(points, wanted, x) {
  const ends = points.map(([px]) => Math.abs(x(px) - wanted));
  return ends.indexOf(ends.reduce((least, each) => Math.min(least, each)));
}
