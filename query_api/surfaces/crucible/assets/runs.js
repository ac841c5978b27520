/** Runs in a table, of all experiments or of one. */

import { all } from "./api.js";
import { join } from "./channels.js";
import { fill, h, row, table } from "./dom.js";
import { chip, duration, number, when } from "./format.js";
import { telemetryLine } from "./hint.js";
import { place } from "./place.js";
import { state } from "./status.js";

const METRICS = 6;

/** A table of runs: its element, and `draw`, which gets them, each with `left`, the seconds until it is done, where that is known. */
export function runTable() {
  const list = table("Runs", ["Run", "State", "Progress", "Metrics", "Began"]);
  list.element.classList.add("cards");
  const draw = (runs) =>
    fill(
      list.body,
      runs,
      (run) => run.id,
      (run) =>
        row(
          [h("a", { href: place(["runs", run.id]) }, run.id), "text mono"],
          state(run.status),
          progress(run),
          metrics(run),
          [when(run.started_at), "dim"],
        ),
    );
  return { element: list.element, draw };
}

/** How far a run is, as a bar and in words. */
export function progress({ id, progress: part, status, left = null }) {
  if (part === null) return h("span", { class: "dim" }, "not told");
  const words = [`${Math.floor(100 * part)} %`, status === "running" && left !== null && `${duration(1000 * left)} left`].filter(Boolean).join(", ");
  return h("div", { class: "progress" }, h("progress", { max: "1", value: part, "aria-label": `Progress of ${id}` }), h("span", { class: "dim" }, words));
}

function metrics({ metrics: values }) {
  const numbers = Object.entries(values).filter(([, value]) => typeof value === "number");
  const beyond = numbers.length - METRICS;
  return h(
    "div",
    { class: "metrics" },
    numbers.slice(0, METRICS).map(([name, value]) => chip(`${name} ${number(value)}`)),
    beyond > 0 && h("span", { class: "dim" }, `and ${beyond} more`),
  );
}

export function runs(shown) {
  const list = runTable();
  const more = h("button", { type: "button", class: "quiet", hidden: true }, "Show more");
  const none = h("div", { hidden: true }, h("p", {}, "No runs yet. Telemetry makes them: an event belongs to the run that its metadata names."), telemetryLine(""));
  let most = 1;
  const read = async (signal) => {
    const found = await all("runs", { signal }, most);
    list.draw(found.data);
    list.element.hidden = !found.data.length;
    none.hidden = found.data.length > 0;
    more.hidden = !found.more;
    join("telemetry:all", signal, () => shown.nudge());
  };
  more.addEventListener("click", () => {
    most += 1;
    shown.attempt(read);
  });
  shown.put("Runs", [], h("section", {}, list.element, none, more));
  return shown.follow(5, read, 2);
}
