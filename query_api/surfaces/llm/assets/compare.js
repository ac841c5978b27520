/** Two experiments on a dataset: how far their scores differ, how sure that is, and what each made of every example. */

import { all, call } from "./api.js";
import { inDataset } from "./datasets.js";
import { fill, h, row, table } from "./dom.js";
import { block, chip, duration, number, signed, whole } from "./format.js";
import { intervals } from "./intervals.js";
import { place } from "./place.js";

const PAGE = 100;

export async function compare(shown, { dataset }) {
  const listed = await shown.attempt((signal) => all("experiments", { path: { dataset }, query: { limit: 1000 }, signal }));
  if (!listed) return;
  const experiments = listed.data;
  const [first, second] = experiments;
  const chosen = known(experiments, shown.query.get("experimentId")) ?? first;
  if (!chosen) {
    await inDataset(shown, dataset, "compare", h("p", { class: "dim" }, "No experiments on this dataset."));
    return;
  }
  const baseline = known(experiments, shown.query.get("baseline")) ?? (chosen === first ? second : first) ?? chosen;
  const options = (selected) => experiments.map((each) => h("option", { value: each.id, selected: each === selected }, each.name));
  const mine = h("select", { "aria-label": "Experiment" }, options(chosen));
  const other = h("select", { "aria-label": "Baseline" }, options(baseline));
  for (const input of [mine, other]) {
    input.addEventListener(
      "change",
      () => (location.hash = place(["datasets", dataset, "compare"], { experimentId: mine.value, baseline: other.value })),
    );
  }
  const alone = chosen === baseline;
  const readings = h("section", { class: "readings", hidden: alone });
  const list = table("Examples", ["Input", "Reference", ...(alone ? [] : [baseline.name]), chosen.name, ...(alone ? [] : ["Difference"])]);
  const more = h("button", { type: "button", class: "quiet", hidden: true }, "Show more");
  await inDataset(
    shown,
    dataset,
    "compare",
    h("div", { class: "bar" }, h("label", {}, "Experiment ", mine), h("label", {}, "compared with ", other)),
    readings,
    h("section", {}, list.element, more),
  );

  let pages = 1;
  const read = async (signal) => {
    const found = await all("diff", { path: { experiment: chosen.id }, query: { baseline: baseline.id, limit: PAGE }, signal }, pages);
    fill(
      list.body,
      found.data,
      (item) => item.example_id,
      (item) => line(item, alone, chosen, baseline),
    );
    more.hidden = !found.more;
    if (alone) return;
    const names = new Set(found.data.flatMap((item) => [...item.experiment, ...item.baseline].flatMap((run) => Object.keys(run.evaluations))));
    const compared = [];
    for (const evaluation of [...names].sort()) {
      const query = { baseline: baseline.id, evaluation };
      compared.push((await call("compare", { path: { experiment: chosen.id }, query, signal })).data);
    }
    fill(readings, compared, (each) => each.evaluation, reading);
  };
  more.addEventListener("click", () => {
    pages += 1;
    shown.attempt(read);
  });
  await shown.follow(10, read);
}

const known = (experiments, id) => experiments.find((each) => each.id === id);

/** The difference of one evaluation's scores, in a drawing and in words. */
function reading(compared) {
  const { evaluation, difference, experiment_mean: mean, baseline_mean: base, examples, wins, losses, ties, anytime, fixed, significant } = compared;
  const verdict = significant ? (difference > 0 ? "higher" : "lower") : "not told apart";
  const words = difference === null ? "no example has a score in both" : `${number(base)} to ${number(mean)}, difference ${signed(difference)}`;
  return h(
    "article",
    {},
    h("h3", {}, evaluation, " ", chip(verdict)),
    h("p", {}, words),
    difference !== null &&
      intervals("difference", difference, [
        ["at any time", anytime],
        ["at the end", fixed],
      ]),
    h(
      "ul",
      { class: "dim" },
      said("At any time", anytime),
      said("At the end", fixed),
      h(
        "li",
        {},
        `${whole(examples.compared)} examples: ${wins} higher, ${losses} lower, ${ties} the same`,
        examples.changed > 0 && `; ${examples.changed} left out, since they changed`,
      ),
    ),
  );
}

function said(title, { interval, p_value: p, meaning }) {
  const range = interval ? `${signed(interval[0])} to ${signed(interval[1])}` : "no interval";
  return h("li", {}, `${title}: ${range}${p === null ? "" : `, p ${p < 0.001 ? "< 0.001" : p.toFixed(3)}`}${meaning ? ` (${meaning})` : ""}`);
}

function line(item, alone, chosen, baseline) {
  const differences = Object.entries(item.differences).map(([name, by]) =>
    h("div", { class: by > 0 ? "good" : by < 0 ? "bad" : "dim" }, `${name} ${signed(by)}`),
  );
  return row(
    [block(item.input), "text"],
    [block(item.reference_output), "text"],
    ...(alone ? [] : [[runs(item.baseline, baseline), "text"]]),
    [runs(item.experiment, chosen), "text"],
    ...(alone ? [] : [[differences]]),
  );
}

function runs(list, { project_name: project }) {
  return list.map(({ output, error, latency_ms: took, trace_id: trace, evaluations }) => {
    const scores = Object.entries(evaluations).map(([name, { score, label, error: why }]) =>
      chip(`${name} ${[score !== null && number(score), label].filter((each) => each || each === 0).join(" ") || why || ""}`),
    );
    return h(
      "div",
      { class: "said" },
      error ? h("p", { class: "bad" }, error) : block(output),
      h("p", { class: "dim" }, duration(took), " ", trace && h("a", { href: place(["projects", project, "traces", trace]) }, "trace"), " ", scores),
    );
  });
}
