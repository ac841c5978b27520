/** Datasets, the examples of one of them, and its experiments. */

import { all, call } from "./api.js";
import { fill, h, row, table } from "./dom.js";
import { block, when, whole } from "./format.js";
import { place } from "./place.js";
import { tabs } from "./shown.js";

const VIEWS = [
  ["Examples", "examples"],
  ["Experiments", "experiments"],
  ["Compare", "compare"],
];
const SHOWN = 100;

export function datasets(shown) {
  const list = table("Datasets", ["Name", "Description", "Examples", "Changed"], ["Examples"]);
  const empty = h("p", { class: "dim", hidden: true }, "No datasets. The clients upload them, and so does POST v1/datasets/upload.");
  shown.put("Datasets", [], h("section", {}, list.element, empty));
  return shown.follow(10, async (signal) => {
    const { data } = await all("datasets", { query: { limit: 1000 }, signal });
    fill(
      list.body,
      data,
      (dataset) => dataset.id,
      ({ id, name, description, example_count: count, updated_at: changed }) =>
        row(
          h("a", { href: place(["datasets", id, "experiments"]) }, name),
          [description ?? "", "dim"],
          [whole(count), "num"],
          [when(changed), "dim"],
        ),
    );
    empty.hidden = data.length > 0;
  });
}

/** Shows a view of the dataset below its name. */
export async function inDataset(shown, id, view, ...content) {
  const found = await shown.attempt((signal) => call("dataset", { path: { dataset: id }, signal }));
  shown.put(found?.data.name ?? id, [["Datasets", "datasets"]], tabs("Views of the dataset", ["datasets", id], VIEWS, view), ...content);
}

export async function examples(shown, { dataset }) {
  let limit = SHOWN;
  let held = [];
  const version = h("select", { "aria-label": "Version" });
  const list = table("Examples", ["Id", "Input", "Output", "Metadata"]);
  const more = h("button", { type: "button", class: "quiet", hidden: true }, "Show more");
  await inDataset(shown, dataset, "examples", h("div", { class: "bar" }, version), h("section", {}, list.element, more));
  const draw = () => {
    fill(
      list.body,
      held.slice(0, limit),
      (example) => example.node_id,
      (example) => row([example.id, "mono dim"], block(example.input), block(example.output), block(example.metadata)),
    );
    more.hidden = held.length <= limit;
  };
  const read = async (signal) => {
    held = (await call("examples", { path: { dataset }, query: { version_id: version.value }, signal })).data.examples;
    draw();
  };
  more.addEventListener("click", () => {
    limit += SHOWN;
    draw();
  });
  version.addEventListener("change", () => shown.attempt(read));
  await shown.attempt(async (signal) => {
    const { data } = await call("versions", { path: { dataset }, query: { limit: 100 }, signal });
    version.append(
      ...data.map((each, at) =>
        h(
          "option",
          { value: each.version_id },
          `${at ? "" : "Newest, "}${new Date(each.created_at).toLocaleString()}${each.description ? `: ${each.description}` : ""}`,
        ),
      ),
    );
    await read(signal);
  });
}

export async function experiments(shown, { dataset }) {
  const list = table(
    "Experiments",
    ["Name", "Began", "Examples", "Repetitions", "Succeeded", "Failed", "Missing", ""],
    ["Examples", "Repetitions", "Succeeded", "Failed", "Missing"],
  );
  const empty = h("p", { class: "dim", hidden: true }, "No experiments on this dataset.");
  await inDataset(shown, dataset, "experiments", h("section", {}, list.element, empty));
  return shown.follow(5, async (signal) => {
    const { data } = await all("experiments", { path: { dataset }, query: { limit: 1000 }, signal });
    const linked = data.map((experiment, at) => ({ ...experiment, before: data[at + 1]?.id }));
    fill(
      list.body,
      linked,
      (experiment) => experiment.id,
      (each) => {
        const { id, before } = each;
        const counts = [each.example_count, each.repetitions, each.successful_run_count, each.failed_run_count, each.missing_run_count];
        const compare =
          before && h("a", { href: place(["datasets", dataset, "compare"], { experimentId: id, baseline: before }) }, "compare with the one before");
        return row(
          h("a", { href: place(["datasets", dataset, "compare"], { experimentId: id, baseline: id }) }, each.name),
          [when(each.created_at), "dim"],
          ...counts.map((count) => [whole(count), "num"]),
          compare ?? "",
        );
      },
    );
    empty.hidden = data.length > 0;
  });
}
