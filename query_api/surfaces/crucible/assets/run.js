/** One run: what it measured, step by step, its checkpoints and the end of its log, as they come. */

import { addressOf, call } from "./api.js";
import { join } from "./channels.js";
import { chart } from "./chart.js";
import { facts, fill, h, row, table } from "./dom.js";
import { block, chip, number, when } from "./format.js";
import { telemetryLine } from "./hint.js";
import { place } from "./place.js";
import { progress } from "./runs.js";
import { Series } from "./series.js";
import { state } from "./status.js";

const LEVELS = ["debug", "info", "warning", "error"];
const LOOKS = { warning: "warn", error: "bad" };
const TAIL = 200;
const CHARTS = 6;
const PLACES = ["current_step", "current_epoch"];
const FIXED = ["id", "epoch", "step", "path", "created_at"];

export function run(shown, { run: id }) {
  const about = h("section");
  const charts = h("div", { class: "charts" });
  const more = h("button", { type: "button", class: "quiet", hidden: true });
  const unmeasured = h("div", { hidden: true }, h("p", {}, "Nothing measured yet. Send numbers in the measurements, with a step or an epoch:"), telemetryLine("", id));
  const checkpoints = table("Checkpoints", ["Checkpoint", "Epoch", "Step", "Measured", "Saved", ""], ["Epoch", "Step"]);
  const unsaved = h("p", { class: "dim", hidden: true }, "No checkpoints: an event whose name ends in checkpoint.saved is one.");
  const log = h("ol", { class: "log", tabindex: "0", "aria-label": "Log" });
  const silent = h("p", { class: "dim", hidden: true });
  const level = h("select", { "aria-label": "Level" }, h("option", { value: "" }, "all levels"), LEVELS.map((each) => h("option", { value: each }, each)));
  const series = new Series(id);
  let limit = CHARTS;

  const drawCharts = async (found, signal) => {
    const names = Object.keys(found.metrics).filter((name) => !PLACES.includes(name) && typeof found.metrics[name] === "number");
    const drawn = [];
    // One after another: the first tells by which field the steps are found.
    for (const name of names.slice(0, limit)) drawn.push({ name, ...(await series.read(name, found, signal)) });
    fill(
      charts,
      drawn.filter(({ points }) => points.length),
      ({ name }) => name,
      ({ name, points, along }) => chart(name, points, along),
    );
    unmeasured.hidden = names.length > 0;
    more.hidden = names.length <= limit;
    more.textContent = `Show all ${names.length} metrics`;
  };
  const readLog = async (signal) => {
    const { data } = await call("logs", { path: { run: id }, query: { tail: TAIL, level: level.value }, signal });
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
    fill(log, counted(data), (each) => each.key, line);
    if (atEnd) log.scrollTop = log.scrollHeight;
    log.hidden = !data.length;
    silent.hidden = data.length > 0;
    silent.textContent = level.value ? `No lines of level ${level.value}.` : "No lines: an event with a message in its metadata is one.";
  };
  const read = async (signal) => {
    const { data } = await call("run", { path: { run: id }, signal });
    fill(about, parts(data), (each) => each.part, described);
    if (data.experiment_id) join(`telemetry:${data.experiment_id}`, signal, told);
    fill(
      checkpoints.body,
      data.checkpoints.toReversed(),
      (each) => each.id,
      (each) => checkpoint(id, each),
    );
    checkpoints.element.hidden = !data.checkpoints.length;
    unsaved.hidden = data.checkpoints.length > 0;
    await Promise.all([drawCharts(data, signal), readLog(signal)]);
  };
  const told = (event, payload) => {
    if (event !== "event" || String(payload.metadata.run_id) === id) shown.nudge();
  };
  more.addEventListener("click", () => {
    limit = Infinity;
    shown.attempt(read);
  });
  level.addEventListener("change", () => shown.attempt(readLog));
  shown.put(
    id,
    [["Runs", "runs"]],
    about,
    h("section", {}, h("h2", {}, "Metrics"), charts, more, unmeasured),
    h("section", {}, h("h2", {}, "Log"), h("div", { class: "bar" }, level), log, silent),
    h("section", {}, h("h2", {}, "Checkpoints"), checkpoints.element, unsaved),
  );
  return shown.follow(10, read, 2);
}

/** What is told of a run, in parts of which one stays as it is while another changes. */
function parts({ id, experiment_id: experiment, status, progress: part, hyperparameters, metrics, started_at: began, completed_at: ended }) {
  const [step, epoch] = PLACES.map((name) => metrics[name] ?? null);
  return [
    { part: "facts", id, experiment, status, progress: part, began, ended, step, epoch },
    ...(Object.keys(hyperparameters).length ? [{ part: "hyperparameters", hyperparameters }] : []),
  ];
}

function described(given) {
  if (given.part === "hyperparameters") return h("details", {}, h("summary", {}, "Hyperparameters"), block(given.hyperparameters));
  const { experiment, status, began, ended, step, epoch } = given;
  return h(
    "div",
    {},
    h("div", { class: "bar" }, state(status), progress(given)),
    facts([
      ["Experiment", experiment && h("a", { href: place(["experiments", experiment]) }, experiment)],
      ["Began", when(began)],
      ["Ended", ended && when(ended)],
      ["Epoch", epoch === null ? null : number(epoch)],
      ["Step", step === null ? null : number(step)],
    ]),
  );
}

function checkpoint(run, given) {
  const { id, epoch, step, path, created_at: saved } = given;
  const measured = Object.entries(given).filter(([name, value]) => !FIXED.includes(name) && typeof value === "number");
  return row(
    [id, "text mono"],
    [epoch === null ? "" : number(epoch), "num"],
    [step === null ? "" : number(step), "num"],
    h("div", { class: "metrics" }, measured.map(([name, value]) => chip(`${name} ${number(value)}`))),
    [when(saved), "dim"],
    path ? h("a", { href: addressOf("checkpoint", { run, checkpoint: id }), "aria-label": `Download ${id}` }, "Download") : "",
  );
}

/** Lines have no id: of equal ones each has its number. */
function counted(lines) {
  const seen = new Map();
  return lines.map((each) => {
    const said = `${each.timestamp} ${each.level} ${each.message}`;
    seen.set(said, (seen.get(said) ?? 0) + 1);
    return { ...each, key: `${seen.get(said)} ${said}` };
  });
}

const line = ({ timestamp, level, message }) =>
  h("li", {}, h("span", { class: "dim" }, when(timestamp)), " ", h("span", { class: LOOKS[level] ?? "dim" }, level), " ", message);
