/** The newest traces of a project, each with its first root. */

import { call } from "./api.js";
import { tokens } from "./attributes.js";
import { fill, h, row, table } from "./dom.js";
import { brief, duration, instant, when, whole } from "./format.js";
import { place } from "./place.js";
import { inProject } from "./project.js";
import { kind, status } from "./span_format.js";

const PAGE = 50;
const MOST = 1000;
const COLUMNS = ["Trace", "Input", "Output", "Began", "Took", "Tokens"];

export async function traces(shown, { project }) {
  let limit = PAGE;
  const roots = new Map();
  const seen = new Map();
  const sort = h(
    "select",
    { "aria-label": "Order" },
    h("option", { value: "start_time" }, "Newest first"),
    h("option", { value: "latency_ms" }, "Slowest first"),
  );
  const failed = h("input", { type: "checkbox" });
  const list = table("Traces", COLUMNS, ["Took", "Tokens"]);
  const more = h("button", { type: "button", class: "quiet", hidden: true }, "Show more");
  const empty = h("p", { class: "dim", hidden: true }, "No traces.");
  await inProject(
    shown,
    project,
    "traces",
    h("div", { class: "bar" }, sort, h("label", {}, failed, " only with errors")),
    h("section", {}, list.element, empty, more),
  );

  const read = async (signal) => {
    const query = { limit, sort: sort.value, error: failed.checked || null };
    const page = await call("traces", { path: { project }, query, signal });
    const changed = page.data.filter((trace) => seen.get(trace.trace_id) !== JSON.stringify(trace) || !roots.get(trace.trace_id)?.end_time);
    for (const [trace, root] of await rootsOf(
      project,
      changed.map((trace) => trace.trace_id),
      signal,
    ))
      roots.set(trace, root);
    for (const trace of changed) seen.set(trace.trace_id, JSON.stringify(trace));
    fill(
      list.body,
      page.data.map((trace) => ({ ...trace, root: roots.get(trace.trace_id) })),
      (trace) => trace.trace_id,
      (trace) => line(project, trace),
    );
    empty.hidden = page.data.length > 0;
    more.hidden = !page.next_cursor || limit >= MOST;
  };
  for (const input of [sort, failed]) input.addEventListener("change", () => shown.attempt(read));
  more.addEventListener("click", () => {
    limit = Math.min(2 * limit, MOST);
    shown.attempt(read);
  });
  return shown.follow(3, read);
}

/** What is shown of the first root of each trace. */
export async function rootsOf(project, ids, signal) {
  const found = new Map();
  for (let at = 0; at < ids.length; at += PAGE) {
    const query = { trace_id: ids.slice(at, at + PAGE), parent_id: "null", limit: MOST };
    for (const span of (await call("spans", { path: { project }, query, signal })).data) {
      const { name, span_kind, status_code, end_time, attributes } = span;
      const input = attributes["input.value"] ?? null;
      const output = attributes["output.value"] ?? null;
      found.set(span.context.trace_id, { name, span_kind, status_code, end_time, input, output, tokens: tokens(span) });
    }
  }
  return found;
}

function line(project, trace) {
  const { root } = trace;
  const name = h("a", { href: place(["projects", project, "traces", trace.trace_id]) }, root?.name || `trace ${trace.trace_id.slice(0, 8)}…`);
  const look = root ? [status(root), " ", kind(root.span_kind), " "] : [];
  const took = root && !root.end_time ? "running" : duration(instant(trace.end_time) - instant(trace.start_time));
  return row(
    h("div", { class: "name" }, look, name),
    [brief(root?.input), "text"],
    [brief(root?.output), "text"],
    [when(trace.start_time), "dim"],
    [took, "num"],
    [whole(trace.token_count_total || null), "num"],
  );
}
