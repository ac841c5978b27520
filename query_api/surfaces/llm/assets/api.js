/** The REST API of this surface: every operation that the page uses. */

import { pages, send } from "./rest.js";

const CALLS = {
  projects: "GET /projects",
  project: "GET /projects/{project}",
  costs: "GET /projects/{project}/costs",
  traces: "GET /projects/{project}/traces",
  spans: "GET /projects/{project}/spans",
  search: "GET /projects/{project}/spans/search",
  query: "POST /spans",
  sessions: "GET /projects/{project}/sessions",
  session: "GET /sessions/{session}",
  spanAnnotations: "GET /projects/{project}/span_annotations",
  traceAnnotations: "GET /projects/{project}/trace_annotations",
  sessionAnnotations: "GET /projects/{project}/session_annotations",
  documentAnnotations: "GET /projects/{project}/document_annotations",
  annotateSpan: "POST /span_annotations",
  annotateTrace: "POST /trace_annotations",
  annotateSession: "POST /session_annotations",
  noteSpan: "POST /span_notes",
  noteTrace: "POST /trace_notes",
  noteSession: "POST /session_notes",
  datasets: "GET /datasets",
  dataset: "GET /datasets/{dataset}",
  examples: "GET /datasets/{dataset}/examples",
  versions: "GET /datasets/{dataset}/versions",
  experiments: "GET /datasets/{dataset}/experiments",
  compare: "GET /experiments/{experiment}/compare",
  diff: "GET /experiments/{experiment}/diff",
  prompts: "GET /prompts",
  promptVersions: "GET /prompts/{prompt}/versions",
  promptTags: "GET /prompt_versions/{version}/tags",
};

const KEY = "millstream-key";

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

/** Calls an operation. `path` fills its address, a list in `query` repeats the parameter, null leaves it out. Throws Refused. */
export async function call(name, given = {}) {
  const { type, text } = await send("v1", CALLS[name], given, reason, key.get() ? { authorization: `Bearer ${key.get()}` } : {});
  return type.startsWith("multipart/") ? columns(text) : JSON.parse(text);
}

/** Every item of a list, over at most `most` pages; `more` says whether there are others. */
export const all = (name, given, most = 10) =>
  pages(async (cursor) => {
    const answer = await call(name, { ...given, query: { ...given.query, cursor } });
    return [answer.data, answer.next_cursor];
  }, most);

function reason(text) {
  try {
    return JSON.parse(text)
      .detail.map((fault) => `${fault.loc.slice(1).join(".")}: ${fault.msg}`)
      .join("; ");
  } catch {
    return text;
  }
}

/** The rows of the only table in a multipart answer; its columns are named `NUMBER_NAME`. */
function columns(text) {
  const table = JSON.parse(text.slice(text.indexOf("\r\n\r\n") + 4, text.lastIndexOf("\r\n--")));
  const named = Object.entries(table.data).map(([name, values]) => [name.slice(name.indexOf("_") + 1), values]);
  const length = named.length ? named[0][1].length : 0;
  return Array.from({ length }, (_, at) => Object.fromEntries(named.map(([name, values]) => [name, values[at]])));
}
