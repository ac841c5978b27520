/** Intervals around an estimate, drawn. */

import { svg } from "./dom.js";
import { signed } from "./format.js";

const WIDE = 420;
const EDGE = 20;

/** Intervals around `estimate` on one axis that shows zero. `readings` are `[name, {interval}]`; those whose interval is null are left out. */
export function intervals(name, estimate, readings) {
  const known = readings.filter(([, each]) => each.interval);
  const ends = [0, estimate, ...known.flatMap(([, each]) => each.interval)];
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const x = (value) => EDGE + ((WIDE - 2 * EDGE) * (value - low)) / (high - low || 1);
  const tall = 26 * known.length + 30;
  const bars = known.map(([title, { interval }], at) => {
    const [from, to] = interval;
    const y = 20 + 26 * at;
    return [
      svg("line", { x1: x(from), x2: x(to), y1: y, y2: y, class: "interval" }),
      svg("circle", { cx: x(estimate), cy: y, r: 4, class: "point" }),
      // Where an interval begins far to the right its name would leave the drawing.
      x(from) > WIDE / 2 ? svg("text", { x: WIDE - EDGE, y: y - 6, "text-anchor": "end" }, title) : svg("text", { x: x(from), y: y - 6 }, title),
    ];
  });
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDE} ${tall}`, class: "intervals", role: "img", "aria-label": `${name} ${signed(estimate)} with its intervals` },
    svg("line", { x1: x(0), x2: x(0), y1: 4, y2: tall - 16, class: "zero" }),
    svg("text", { x: x(0), y: tall - 4, "text-anchor": "middle" }, "0"),
    bars,
  );
}
