/** What a statistical test came to: how large the effect is, how sure that is, and of what. */

import { call } from "./api.js";
import { facts, h, row, table } from "./dom.js";
import { block, chip, number, signed, when, whole } from "./format.js";
import { intervals } from "./intervals.js";
import { place } from "./place.js";
import { TESTS, probability } from "./result_table.js";

export async function result(shown, { result: id }) {
  const found = await shown.attempt((signal) => call("result", { path: { result: id }, signal }));
  if (!found) return;
  const { data } = found;
  shown.put(
    data.groups.join(" against "),
    [["Tests", "tests"]],
    h("section", {}, ...reading(data)),
    h("section", {}, h("h2", {}, "Groups"), groups(data)),
    h("section", {}, h("h2", {}, "How it was tested"), how(data)),
  );
}

function reading(data) {
  const { interpretation: said, alpha, effect_size: effect, effect_size_type: type, mean_difference: difference, always_valid: always } = data;
  const level = `${number(100 * (1 - alpha))} %`;
  const size = type.replaceAll("_", " ");
  return [
    h("p", {}, chip(said.significance.replaceAll("_", " ")), chip(`${said.effect_magnitude} effect`)),
    h("p", {}, said.practical_significance),
    h(
      "div",
      { class: "readings" },
      plot("Effect size", size, effect, [[`${size}, ${level}`, data.confidence_interval]]),
      difference !== null &&
        plot("Difference of means", "difference", difference, [
          [`for one look, ${level}`, data.mean_difference_interval],
          [`at any time, ${level}`, always && always.interval],
        ]),
    ),
  ];
}

function plot(title, name, value, readings) {
  const known = readings.filter(([, interval]) => interval);
  return h(
    "article",
    {},
    h("h3", {}, title, " ", signed(value)),
    intervals(name, value, known.map(([words, interval]) => [words, { interval }])),
    h("ul", { class: "dim" }, known.map(([words, [from, to]]) => h("li", {}, `${words}: ${signed(from)} to ${signed(to)}`))),
  );
}

function groups({ groups: names, sample_sizes: sizes, means, std_devs: deviations }) {
  const list = table("Groups", ["Group", "Values", "Mean", "Standard deviation"], ["Values", "Mean", "Standard deviation"]);
  list.body.append(...names.map((name, at) => row([name, "text"], [whole(sizes[at]), "num"], [number(means[at]), "num"], [number(deviations[at]), "num"])));
  return list.element;
}

function how(data) {
  const { always_valid: always, experiment_id: experiment } = data;
  return h(
    "div",
    {},
    facts([
      ["Test", TESTS[data.test_type]],
      ["Metric", data.metric],
      ["p", probability(data.p_value)],
      ["p at any time", always && (always.p_value === null ? always.reason : probability(always.p_value))],
      ["Statistic", number(data.statistic)],
      ["Degrees of freedom", data.degrees_of_freedom === null ? "" : [data.degrees_of_freedom].flat().map(number).join(", ")],
      ["Level", String(data.alpha)],
      ["Alternative", data.alternative.replaceAll("_", " ")],
      ["Without the other half", data.unpaired && data.unpaired.map(whole).join(", ")],
      ["Experiment", h("a", { href: place(["experiments", experiment]) }, experiment)],
      ["When", when(data.created_at)],
    ]),
    h("details", {}, h("summary", {}, "Options"), block(data.options)),
    h("p", {}, h("a", { href: place(["tests"], { experiment }) }, "Test something else of this experiment")),
  );
}
