/** The form that runs a statistical test, and what was tested before. */

import { all, call } from "./api.js";
import { fill, h } from "./dom.js";
import { whole } from "./format.js";
import { telemetryLine } from "./hint.js";
import { place } from "./place.js";
import { TESTS, resultTable } from "./result_table.js";

const ALTERNATIVES = { two_sided: "differs", greater: "is greater in the first group", less: "is less in the first group" };
const LISTED = 50;

const field = (words, input) => h("label", {}, h("span", { class: "dim" }, words), input);
const choices = (words) => Object.entries(words).map(([value, text]) => h("option", { value }, text));

export async function tests(shown) {
  const form = testForm(shown);
  const results = resultTable();
  const more = h("button", { type: "button", class: "quiet", hidden: true }, "Show more");
  const none = h("div", { hidden: true }, h("p", {}, "No tests yet. Send values of two groups, such as of two models, and compare them above:"), telemetryLine(form.asked));
  let most = 1;
  const read = async (signal) => {
    const found = await all("results", { signal }, most);
    results.draw(found.data);
    results.element.hidden = !found.data.length;
    none.hidden = found.data.length > 0;
    more.hidden = !found.more;
  };
  more.addEventListener("click", () => {
    most += 1;
    shown.attempt(read);
  });
  shown.put("Statistical tests", [], form.element, h("section", {}, h("h2", {}, "Results"), results.element, more, none));
  await shown.attempt(form.fill);
  return shown.follow(10, read);
}

function testForm(shown) {
  const asked = shown.query.get("experiment") ?? "";
  const experiment = h("input", { list: "experiment-ids", value: asked, required: true, placeholder: "exp_…" });
  const test = h("select", {}, choices(TESTS));
  const metric = h("input", { list: "metric-names", required: true, placeholder: "accuracy" });
  const by = h("input", { list: "field-names", value: "model", required: true });
  const pairs = h("input", { list: "field-names", placeholder: "request_id" });
  const groups = h("textarea", { rows: "3", required: true, placeholder: "model_a\nmodel_b" });
  const alpha = h("input", { type: "number", value: "0.05", min: "0.000001", max: "0.5", step: "any", required: true });
  const alternative = h("select", {}, choices(ALTERNATIVES));
  const pairing = field("Pairs have the same", pairs);
  const direction = field("Whether the mean", alternative);
  const there = h("div", { class: "metrics" });
  const lists = Object.fromEntries(["experiment-ids", "metric-names", "field-names"].map((id) => [id, h("datalist", { id })]));

  const named = () => groups.value.split("\n").map((each) => each.trim()).filter(Boolean);
  const suit = () => {
    pairing.hidden = test.value !== "paired_t_test";
    pairs.required = !pairing.hidden;
    direction.hidden = test.value === "one_way_anova";
  };
  const add = (name) => {
    if (!named().includes(name)) groups.value = [...named(), name].join("\n");
    groups.focus();
  };
  const offer = (id, names) => fill(lists[id], [...names].slice(0, LISTED), String, (value) => h("option", { value }));

  /** Offers what the telemetry of the experiment has. */
  const look = async (signal) => {
    const query = { "filter[experiment_id]": experiment.value };
    if (!experiment.value) return;
    const { data } = await call("events", { query: { ...query, per_page: 100 }, signal });
    offer("metric-names", new Set(data.flatMap((each) => Object.keys(each.measurements))));
    offer("field-names", new Set(data.flatMap((each) => Object.keys(each.metadata))));
    const found = by.value && (await call("events", { query: { ...query, agg: "count", group_by: grouped(by.value) }, signal })).data;
    fill(
      there,
      (found || []).filter(({ group }) => group !== null && typeof group !== "object").slice(0, LISTED),
      ({ group }) => group,
      ({ group, count }) => h("button", { type: "button", class: "quiet", onclick: () => add(String(group)) }, `${group} (${whole(count)})`),
    );
  };

  const element = h(
    "form",
    { class: "test" },
    h("h2", {}, "Test a difference"),
    field("Experiment", experiment),
    field("Metric", metric),
    field("Groups by", by),
    field("Test", test),
    pairing,
    direction,
    field("Level", alpha),
    field("Groups, one a line; the second is taken from the first", groups),
    there,
    Object.values(lists),
    h("button", {}, "Run the test"),
  );
  test.addEventListener("change", suit);
  for (const each of [experiment, by]) each.addEventListener("change", () => shown.attempt(look));
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    const options = {
      alpha: Number(alpha.value),
      group_by: by.value.trim(),
      ...(!direction.hidden && { alternative: alternative.value }),
      ...(!pairing.hidden && { pair_by: pairs.value.trim() }),
    };
    const body = { test: { experiment_id: experiment.value.trim(), test_type: test.value, groups: named(), metric: metric.value.trim(), options } };
    const made = await shown.attempt((signal) => call("runTest", { body, signal }));
    if (made) location.hash = place(["tests", made.data.id]);
  });
  suit();
  return {
    element: h("section", {}, element),
    asked,
    fill: async (signal) => {
      const { data } = await call("experiments", { query: { per_page: 100 }, signal });
      fill(lists["experiment-ids"], data, ({ id }) => id, ({ id, name }) => h("option", { value: id }, name));
      await look(signal);
    },
  };
}

/** The field of the metadata as telemetry is grouped by it. */
const grouped = (name) => (name === "event_name" ? name : `metadata.${name}`);
