/** What a run measured, along its steps or epochs, or along time where it has neither. */

import { call } from "./api.js";
import { number } from "./format.js";
import { Refused } from "./rest.js";

const STEPS = ["measurements.step", "measurements.global_step", "metadata.step"];
const EPOCHS = ["measurements.epoch", "metadata.epoch"];
const MINUTE_MS = 60_000;
/** Widths of the bins of time, and how long a run is at most for them to be few. */
const WIDTHS = [
  ["1m", 300 * MINUTE_MS],
  ["5m", 1_500 * MINUTE_MS],
  ["1h", 18_000 * MINUTE_MS],
];

/** Reads series of one run. Remembers by which field its steps are found. */
export class Series {
  #run;
  #by = null;

  constructor(run) {
    this.#run = run;
  }

  /** The means of a metric: `points` of `[x, mean]`, x rising, and `along`, which says an x in words. Throws Refused. */
  async read(metric, run, signal) {
    const stepped = "current_step" in run.metrics;
    const fields = stepped ? STEPS : "current_epoch" in run.metrics ? EPOCHS : [];
    for (const field of this.#by ? [this.#by] : fields) {
      const points = await this.#bySteps(metric, field, signal);
      if (!points) break;
      if (!points.length) continue;
      this.#by = field;
      return { points, along: (x) => `${stepped ? "step" : "epoch"} ${number(x)}` };
    }
    return { points: await this.#byTime(metric, run, signal), along: (x) => new Date(x).toLocaleString() };
  }

  async #bySteps(metric, field, signal) {
    const query = { "filter[run_id]": this.#run, agg: "avg", agg_field: `measurements.${metric}`, group_by: field };
    const data = await asked("events", query, signal);
    return data && data.filter(({ group }) => typeof group === "number").map(({ group, value }) => [group, value]).sort(([one], [other]) => one - other);
  }

  async #byTime(metric, run, signal) {
    const took = Date.parse(run.completed_at ?? new Date().toISOString()) - Date.parse(run.started_at);
    const [interval] = WIDTHS.find(([, most]) => took <= most) ?? ["1d"];
    const query = { "filter[run_id]": this.#run, metric: `measurements.${metric}`, agg: "avg", interval };
    const data = (await asked("aggregate", query, signal)) ?? [];
    return data.map(({ timestamp, value }) => [Date.parse(timestamp), value]);
  }
}

/** Null for what cannot be asked for: more values than an answer holds, or a name that is no path. */
async function asked(name, query, signal) {
  try {
    return (await call(name, { query, signal })).data;
  } catch (error) {
    if (error instanceof Refused && error.status === 422) return null;
    throw error;
  }
}
