/** The REST API of this surface: every operation that the page uses, and nothing else fetches. */

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

/** An answer that is no success. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Calls an operation. `path` fills its address, a list in `query` repeats the parameter, null leaves it out. Throws Refused. */
export async function call(name, { path = {}, query = {}, body, signal } = {}) {
  const [method, template] = CALLS[name].split(" ");
  const address = template.replace(/\{(\w+)\}/g, (_, part) => encodeURIComponent(path[part]));
  const pairs = Object.entries(query).flatMap(([field, value]) => [value].flat().map((each) => [field, each]));
  const asked = new URLSearchParams(pairs.filter(([, value]) => value !== null && value !== undefined && value !== ""));
  const headers = { accept: "application/json" };
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(`v1${address}?${asked}`, { method, headers, body: body && JSON.stringify(body), signal });
  const text = await answer.text();
  if (!answer.ok) throw new Refused(answer.status, reason(text, answer.status));
  return answer.headers.get("content-type").startsWith("multipart/") ? columns(text) : JSON.parse(text);
}

/** Every item of a list, over at most `pages` pages; `more` says whether there are others. */
export async function all(name, given, pages = 10) {
  const data = [];
  let cursor = null;
  for (let page = 0; page < pages; page += 1) {
    const answer = await call(name, { ...given, query: { ...given.query, cursor } });
    data.push(...answer.data);
    cursor = answer.next_cursor;
    if (!cursor) break;
  }
  return { data, more: Boolean(cursor) };
}

function reason(text, status) {
  try {
    return JSON.parse(text)
      .detail.map((fault) => `${fault.loc.slice(1).join(".")}: ${fault.msg}`)
      .join("; ");
  } catch {
    return text || `the server answered ${status}`;
  }
}

/** The rows of the only table in a multipart answer; its columns are named `NUMBER_NAME`. */
function columns(text) {
  const table = JSON.parse(text.slice(text.indexOf("\r\n\r\n") + 4, text.lastIndexOf("\r\n--")));
  const named = Object.entries(table.data).map(([name, values]) => [name.slice(name.indexOf("_") + 1), values]);
  const length = named.length ? named[0][1].length : 0;
  return Array.from({ length }, (_, at) => Object.fromEntries(named.map(([name, values]) => [name, values[at]])));
}
