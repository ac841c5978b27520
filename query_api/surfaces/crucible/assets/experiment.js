/** One experiment: its state, its runs as they go on, and what was tested. */

import { all, call } from "./api.js";
import { join } from "./channels.js";
import { facts, fill, h } from "./dom.js";
import { block, chip, number, whole, when } from "./format.js";
import { telemetryLine } from "./hint.js";
import { place } from "./place.js";
import { resultTable } from "./result_table.js";
import { runTable } from "./runs.js";
import { moves, state } from "./status.js";

const RESULTS = 20;

export function experiment(shown, { experiment: id }) {
  const about = h("section");
  const list = runTable();
  const none = h("div", { hidden: true }, h("p", {}, "No runs yet. Send what a run measures, with the experiment and the run in the metadata:"), telemetryLine(id));
  const more = h("p", { class: "dim", hidden: true }, "Older runs are left out here; the list of runs has all.");
  const results = resultTable();
  const untested = h("p", { class: "dim", hidden: true }, "No tests of this experiment yet.");
  let runs = [];
  const left = new Map();

  const draw = () => {
    list.draw(runs.map((run) => ({ ...run, left: left.get(run.id) ?? null })));
    list.element.hidden = !runs.length;
    none.hidden = runs.length > 0;
  };
  const read = async (signal) => {
    const query = { "filter[experiment_id]": id };
    const [{ data }, found, tested] = await Promise.all([
      call("experiment", { path: { experiment: id }, signal }),
      all("runs", { query, signal }, 1),
      call("results", { query: { ...query, per_page: RESULTS }, signal }),
    ]);
    shown.title(data.name);
    fill(
      about,
      parts(data),
      (each) => each.part,
      (each) => drawn(shown, each, () => shown.attempt(read)),
    );
    runs = found.data;
    more.hidden = !found.more;
    draw();
    results.draw(tested.data);
    results.element.hidden = !tested.data.length;
    untested.hidden = tested.data.length > 0;
    join(`experiment:${id}`, signal, told);
  };
  const told = (event, payload) => {
    const run = runs.find((each) => each.id === payload.run_id);
    if (event === "progress_updated" && run) {
      run.progress = payload.progress;
      left.set(run.id, payload.eta_seconds);
      draw();
    }
    shown.nudge();
  };
  shown.put(
    id,
    [["Experiments", "experiments"]],
    about,
    h("section", {}, h("h2", {}, "Runs"), list.element, more, none),
    h(
      "section",
      {},
      h("h2", {}, "Statistical tests"),
      results.element,
      untested,
      h("p", {}, h("a", { href: place(["tests"], { experiment: id }) }, "Test a difference between groups")),
    ),
  );
  return shown.follow(10, read, 1);
}

/** Parts of what is told of an experiment, so that one stays as it is while another changes. */
function parts({ id, name, description, status, config, tags, created_at: created, started_at: began, completed_at: ended, results_summary: summary }) {
  const configured = Object.keys(config).length > 0;
  return [
    { part: "state", id, name, status, tags },
    { part: "facts", description, created, began, ended, summary },
    ...(configured ? [{ part: "config", config }] : []),
  ];
}

function drawn(shown, given, moved) {
  if (given.part === "state") return h("div", { class: "bar" }, state(given.status), moves(shown, given, moved), h("span", {}, given.tags.map((tag) => chip(tag))));
  if (given.part === "config") return h("details", {}, h("summary", {}, "Config"), block(given.config));
  const { description, created, began, ended, summary } = given;
  return h(
    "div",
    {},
    description && h("p", {}, description),
    facts([
      ["Created", when(created)],
      ["Started", began && when(began)],
      ["Ended", ended && when(ended)],
      ["Runs", whole(summary.total_runs)],
      ["Best accuracy", summary.best_accuracy === null ? null : number(summary.best_accuracy)],
    ]),
  );
}
