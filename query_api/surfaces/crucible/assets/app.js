/** The page: which address shows what. */

import { session } from "./api.js";
import { watched } from "./channels.js";
import { experiment } from "./experiment.js";
import { experiments } from "./experiments.js";
import { start } from "./page.js";
import { result } from "./result.js";
import { run } from "./run.js";
import { runs } from "./runs.js";
import { tests } from "./tests.js";

const PLACES = [
  ["experiments", experiments],
  ["experiments/:experiment", experiment],
  ["runs", runs],
  ["runs/:run", run],
  ["tests", tests],
  ["tests/:result", result],
];
const STATES = { live: "good", connecting: "warn", "connection lost, trying again": "bad" };

const link = document.getElementById("link");

watched((state) => {
  link.hidden = state === null;
  link.querySelector("span").textContent = state ?? "";
  link.querySelector("i").className = `dot ${STATES[state] ?? ""}`;
});
start(PLACES, "experiments", session);
