/** What the spans of a project cost, by what used it. */

import { all } from "./api.js";
import { fill, h, row, table } from "./dom.js";
import { money, whole } from "./format.js";
import { inProject } from "./project.js";

const BY = [
  ["model", "By model"],
  ["provider", "By provider"],
  ["user", "By user"],
  ["session", "By session"],
  ["prompt_version", "By version of the prompt"],
  ["project", "In total"],
];

export async function costs(shown, { project }) {
  const by = h(
    "select",
    { "aria-label": "By" },
    BY.map(([value, name]) => h("option", { value }, name)),
  );
  const list = table("Costs", ["What", "", "Tokens", "Cost", ""], ["Tokens", "Cost"]);
  const empty = h("p", { class: "dim", hidden: true }, "Nothing was used. Spans with token counts and a model are priced.");
  await inProject(shown, project, "costs", h("div", { class: "bar" }, by), h("section", {}, list.element, empty));
  const read = async (signal) => {
    const { data } = await all("costs", { path: { project }, query: { by: by.value, limit: 1000 }, signal }, 1);
    const most = Math.max(1, ...data.map((each) => each.tokens));
    fill(
      list.body,
      data,
      (each) => each.by + each.value,
      (each) =>
        row(
          each.value,
          [share(each.tokens / most), "share"],
          [whole(each.tokens), "num"],
          [money(each.amount, each.currency), "num"],
          [each.complete ? "" : "not everything has a price", "dim"],
        ),
    );
    empty.hidden = data.length > 0;
  };
  by.addEventListener("change", () => shown.attempt(read));
  return shown.follow(5, read);
}

const share = (part) => h("div", { class: "amount", style: { width: `${(100 * part).toFixed(1)}%` } });
