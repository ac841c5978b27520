/** The REST API of this surface: every operation that the page uses, with the session that the browser holds. */

import { address, pages, send } from "./rest.js";

const BASE = "api/v1";
const CALLS = {
  openSession: "POST /session",
  closeSession: "DELETE /session",
  experiments: "GET /experiments",
  createExperiment: "POST /experiments",
  experiment: "GET /experiments/{experiment}",
  start: "POST /experiments/{experiment}/start",
  pause: "POST /experiments/{experiment}/pause",
  resume: "POST /experiments/{experiment}/resume",
  cancel: "POST /experiments/{experiment}/cancel",
  runs: "GET /runs",
  run: "GET /runs/{run}",
  logs: "GET /runs/{run}/logs",
  checkpoint: "GET /runs/{run}/checkpoints/{checkpoint}/download",
  events: "GET /telemetry/events",
  aggregate: "GET /telemetry/aggregate",
  results: "GET /statistical-results",
  result: "GET /statistical-results/{result}",
  runTest: "POST /statistical-results",
};

let open = false;

/** Calls an operation. `path` fills its address, null in `query` leaves a parameter out. Throws Refused. */
export async function call(name, given = {}) {
  const { text } = await send(BASE, CALLS[name], given, reason);
  open = true;
  return text && JSON.parse(text);
}

/** Every item of a list, over at most `most` pages; `more` says whether there are others. */
export const all = (name, given, most = 10) =>
  pages(async (cursor) => {
    const { data, meta } = await call(name, { ...given, query: { per_page: 100, ...given.query, cursor } });
    return [data, meta.next_cursor];
  }, most);

/** Where a browser finds what an operation answers. */
export const addressOf = (name, path) => address(BASE, CALLS[name], { path });

/** The cookie is out of reach of scripts: that a session is open shows in answers. */
export const session = {
  held: () => open,
  enter: (key) => call("openSession", { body: { api_key: key } }),
  leave: async () => {
    await call("closeSession");
    open = false;
  },
  refused: () => {
    const words = open ? "The session is over. Sign in again." : "";
    open = false;
    return words;
  },
};

function reason(text) {
  try {
    return JSON.parse(text).error.message;
  } catch {
    return text;
  }
}
