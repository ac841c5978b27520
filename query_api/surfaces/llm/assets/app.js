/** The page: which address shows what, and how it holds its key. */

import { key } from "./api.js";
import { compare } from "./compare.js";
import { costs } from "./costs.js";
import { datasets, examples, experiments } from "./datasets.js";
import { start } from "./page.js";
import { projects } from "./projects.js";
import { prompt, prompts } from "./prompts.js";
import { session, sessions } from "./sessions.js";
import { spans } from "./spans.js";
import { trace } from "./trace.js";
import { traces } from "./traces.js";

const PLACES = [
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

start(PLACES, "projects", {
  held: () => Boolean(key.get()),
  enter: key.set,
  leave: key.forget,
  refused: () => {
    const words = key.get() ? "This key is not valid." : "";
    key.forget();
    return words;
  },
});
