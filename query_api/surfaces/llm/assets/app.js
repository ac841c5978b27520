/** The page: which address shows what, the API key, and what went wrong. */

import { Refused, key } from "./api.js";
import { compare } from "./compare.js";
import { costs } from "./costs.js";
import { datasets, examples, experiments } from "./datasets.js";
import { match, parsed } from "./place.js";
import { projects } from "./projects.js";
import { prompt, prompts } from "./prompts.js";
import { session, sessions } from "./sessions.js";
import { Shown } from "./shown.js";
import { spans } from "./spans.js";
import { trace } from "./trace.js";
import { traces } from "./traces.js";

const PLACES = [
  ["", projects],
  ["projects", projects],
  ["projects/:project", traces],
  ["projects/:project/traces", traces],
  ["projects/:project/traces/:trace", trace],
  ["projects/:project/spans", spans],
  ["projects/:project/sessions", sessions],
  ["projects/:project/sessions/:session", session],
  ["projects/:project/costs", costs],
  ["datasets", datasets],
  ["datasets/:dataset", experiments],
  ["datasets/:dataset/examples", examples],
  ["datasets/:dataset/experiments", experiments],
  ["datasets/:dataset/compare", compare],
  ["prompts", prompts],
  ["prompts/:prompt", prompt],
];

const element = (id) => document.getElementById(id);
let shown = null;

function problem(error) {
  if (error instanceof Refused && error.status === 401) {
    gate(key.get() ? "This key is not valid." : "");
    return;
  }
  element("problem").hidden = error === null;
  element("problem").textContent = error === null ? "" : error instanceof Refused ? error.message : `The server cannot be reached: ${error.message}`;
}

function gate(why) {
  shown?.end();
  key.forget();
  element("main").replaceChildren();
  element("problem").hidden = true;
  element("gate").hidden = false;
  element("forget").hidden = true;
  element("why").textContent = why;
  element("key").focus();
}

function show() {
  const { segments, query } = parsed(location.hash);
  const [name, view] = PLACES.find(([pattern]) => match(pattern, segments) || (!pattern && !segments.length)) ?? [];
  shown?.end();
  shown = new Shown(element("main"), query, problem);
  problem(null);
  element("gate").hidden = true;
  element("forget").hidden = !key.get();
  for (const link of element("nav").children) link.setAttribute("aria-current", String(link.hash === `#/${segments[0] ?? "projects"}`));
  if (view) view(shown, match(name, segments) ?? {});
  else shown.put("Nothing is here", [["Projects", "projects"]]);
}

element("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(element("key").value.trim());
  element("key").value = "";
  show();
});
element("forget").addEventListener("click", () => gate(""));
addEventListener("hashchange", () => {
  show();
  element("main").focus();
});
show();
