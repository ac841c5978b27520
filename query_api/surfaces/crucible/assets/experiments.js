/** The experiments, and the form that makes one. */

import { all, call } from "./api.js";
import { join } from "./channels.js";
import { fill, h, row, table } from "./dom.js";
import { when, whole } from "./format.js";
import { telemetryLine } from "./hint.js";
import { place } from "./place.js";
import { moves, state } from "./status.js";

const STATES = ["pending", "running", "paused", "completed", "failed", "cancelled"];

export function experiments(shown) {
  const name = h("input", { "aria-label": "Name", placeholder: "Name of a new experiment", required: true, maxlength: "300", class: "wide" });
  const description = h("input", { "aria-label": "Description", placeholder: "Description", class: "wide" });
  const form = h("form", { class: "bar" }, name, description, h("button", {}, "Create"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = { experiment: { name: name.value.trim(), description: description.value.trim() } };
    const made = await shown.attempt((signal) => call("createExperiment", { body, signal }));
    if (made) location.hash = place(["experiments", made.data.id]);
  });

  const only = h("select", { "aria-label": "State" }, h("option", { value: "" }, "in any state"), STATES.map((each) => h("option", { value: each }, each)));
  only.addEventListener("change", () => shown.attempt(read));
  const counts = h("span", { class: "dim", role: "status" });
  const list = table("Experiments", ["Name", "State", "Description", "Created", ""]);
  list.element.classList.add("cards");
  const more = h("button", { type: "button", class: "quiet", hidden: true }, "Show more");
  let most = 1;
  more.addEventListener("click", () => {
    most += 1;
    shown.attempt(read);
  });
  const none = h("p", { class: "dim", hidden: true });
  const first = h("div", { hidden: true }, h("p", {}, "No experiments yet. Create one above, start it, and send what its runs measure:"), telemetryLine(""));

  const read = async (signal) => {
    const found = await all("experiments", { query: { "filter[status]": only.value }, signal }, most);
    fill(
      list.body,
      found.data,
      (each) => each.id,
      (each) =>
        row(
          h("a", { href: place(["experiments", each.id]) }, each.name),
          state(each.status),
          [each.description, "text dim"],
          [when(each.created_at), "dim"],
          moves(shown, each, () => shown.attempt(read)),
        ),
    );
    list.element.hidden = !found.data.length;
    first.hidden = Boolean(found.data.length || only.value);
    none.hidden = Boolean(found.data.length || !only.value);
    none.textContent = `No experiment is ${only.value}.`;
    more.hidden = !found.more;
    join("dashboard:page", signal, told);
  };
  const told = (event, payload) => {
    if (event !== "experiment_summary") return;
    counts.textContent = `${whole(payload.active)} under way, ${whole(payload.completed_today)} completed today (UTC)`;
    shown.nudge();
  };
  shown.put(
    "Experiments",
    [],
    h("section", {}, h("h2", {}, "New experiment"), form),
    h("section", {}, h("div", { class: "bar" }, only, counts), list.element, none, first, more),
  );
  return shown.follow(5, read, 1);
}
