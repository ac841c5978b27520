/** What every view of one project has: its name and the links between its views. */

import { call } from "./api.js";
import { liveSwitch, tabs } from "./shown.js";

const VIEWS = [
  ["Traces", "traces"],
  ["Spans", "spans"],
  ["Sessions", "sessions"],
  ["Costs", "costs"],
];

/** The link to a view of the project, by its name. */
export async function projectLink(shown, id, view) {
  const found = await shown.attempt((signal) => call("project", { path: { project: id }, signal }));
  return [found?.data.name ?? id, "projects", id, view];
}

/** Shows a view of the project below its name. */
export async function inProject(shown, id, view, ...content) {
  const [name] = await projectLink(shown, id, view);
  shown.put(name, [["Projects", "projects"]], tabs("Views of the project", ["projects", id], VIEWS, view), liveSwitch(), ...content);
}
