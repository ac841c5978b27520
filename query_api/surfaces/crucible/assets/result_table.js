/** Statistical results in a table. */

import { fill, h, row, table } from "./dom.js";
import { chip, number, signed, when } from "./format.js";
import { place } from "./place.js";

export const TESTS = {
  two_sample_t_test: "two-sample t test",
  paired_t_test: "paired t test",
  mann_whitney_u: "Mann-Whitney U",
  one_way_anova: "one-way analysis of variance",
  two_proportion_z_test: "two-proportion z test",
};

export const probability = (p) => (p < 0.0001 ? p.toExponential(1) : number(p));

/** A table of results: its element, and `draw`, which gets them. */
export function resultTable() {
  const list = table("Statistical tests", ["Groups", "Metric", "Test", "p", "Effect", "", "When"], ["p", "Effect"]);
  const draw = (results) =>
    fill(
      list.body,
      results,
      (each) => each.id,
      (each) =>
        row(
          [h("a", { href: place(["tests", each.id]) }, each.groups.join(" against ")), "text"],
          [each.metric, "text"],
          TESTS[each.test_type],
          [probability(each.p_value), "num"],
          [signed(each.effect_size), "num"],
          chip(each.interpretation.significance.replaceAll("_", " ")),
          [when(each.created_at), "dim"],
        ),
    );
  return { element: list.element, draw };
}
