/** What to do where nothing is yet. */

import { addressOf } from "./api.js";
import { h } from "./dom.js";

/** A line for a shell that sends telemetry of a run, a first step of ten, of the experiment if one is named. */
export function telemetryLine(experiment, run = "run_1") {
  const metadata = { ...(experiment && { experiment_id: experiment }), run_id: run, model: "model_a", hyperparameters: { epochs: 10 } };
  const event = { event_name: ["crucible_train", "epoch", "stop"], measurements: { epoch: 1, train_loss: 0.7, accuracy: 0.61 }, metadata };
  const address = new URL(addressOf("events"), location.href);
  const line = [
    `curl ${quoted(address.href)}`,
    `-H "Authorization: Bearer $API_KEY"`,
    "-H 'Content-Type: application/json'",
    `-d ${quoted(JSON.stringify({ events: [event] }))}`,
  ];
  return h("pre", { tabindex: "0" }, line.join(" \\\n  "));
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
