/** Every project, with what it used. */

import { all, call } from "./api.js";
import { fill, h, row, table } from "./dom.js";
import { money, whole } from "./format.js";
import { place } from "./place.js";
import { liveSwitch } from "./shown.js";

const PRICED = 50;
const ROUNDS = 6; // of reading the list, for one of reading every cost

export function projects(shown) {
  const experiments = h("input", { type: "checkbox" });
  const list = table("Projects", ["Name", "Description", "Tokens", "Cost"], ["Tokens", "Cost"]);
  const empty = h(
    "p",
    { class: "dim", hidden: true },
    "No project yet. Send spans to this address, for example with PHOENIX_COLLECTOR_ENDPOINT=",
    location.origin,
    ", and they appear here.",
  );
  const used = new Map();
  let round = 0;
  shown.put(
    "Projects",
    [],
    h("div", { class: "bar" }, h("label", {}, experiments, " with those of experiments"), liveSwitch()),
    h("section", {}, list.element, empty),
  );

  const read = async (signal) => {
    const { data } = await all("projects", { query: { limit: 1000, include_experiment_projects: experiments.checked }, signal });
    const draw = () =>
      fill(
        list.body,
        data.map((project) => ({ ...project, used: used.get(project.id) })),
        (project) => project.id,
        ({ id, name, description, used: sum }) =>
          row(
            h("a", { href: place(["projects", id, "traces"]) }, name),
            [description ?? "", "dim"],
            [whole(sum?.tokens), "num"],
            [money(sum?.amount, sum?.currency), "num"],
          ),
      );
    empty.hidden = data.length > 0;
    draw();
    const everyone = round % ROUNDS === 0;
    round += 1;
    for (const { id } of data.slice(0, PRICED).filter((project) => everyone || !used.has(project.id))) {
      used.set(id, (await call("costs", { path: { project: id }, signal })).data[0]);
      draw();
    }
  };
  experiments.addEventListener("change", () => shown.attempt(read));
  return shown.follow(10, read);
}
