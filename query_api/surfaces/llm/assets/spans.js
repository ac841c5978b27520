/** The newest spans of a project, by words or by a condition. */

import { call } from "./api.js";
import { tokens } from "./attributes.js";
import { fill, h, row, table } from "./dom.js";
import { brief, duration, when, whole } from "./format.js";
import { place } from "./place.js";
import { inProject } from "./project.js";
import { kind, latency, status } from "./span_format.js";

const PAGE = 50;
const MOST = 1000;
const COLUMNS = ["Span", "Input", "Output", "Began", "Took", "Tokens"];
const KINDS = ["LLM", "CHAIN", "AGENT", "TOOL", "RETRIEVER", "RERANKER", "EMBEDDING", "EVALUATOR", "GUARDRAIL", "UNKNOWN"];
const EXAMPLES = [
  "span_kind == 'LLM' and latency_ms > 1000",
  "status_code == 'ERROR' and parent_span is None",
  "'refund' in input.value",
  "llm.model_name == 'gpt-4o' and llm.token_count.total > 2000",
  "evals['correctness'].score < 0.5",
  "metadata['customer'] == 'ACME'",
];
const SELECTED = {
  name: "name",
  span_kind: "span_kind",
  status_code: "status_code",
  trace_id: "trace_id",
  start_time: "start_time",
  end_time: "end_time",
  input: "input.value",
  output: "output.value",
  prompt: "llm.token_count.prompt",
  completion: "llm.token_count.completion",
};

export async function spans(shown, { project }) {
  let limit = PAGE;
  const { query: asked } = shown;
  const filtering = asked.has("filter");
  const by = h(
    "select",
    { "aria-label": "Search by" },
    h("option", { value: "q" }, "Words"),
    h("option", { value: "filter", selected: filtering }, "Filter"),
  );
  const text = h("input", {
    type: "search",
    class: "wide mono",
    "aria-label": "Words or filter",
    "aria-describedby": "fault",
    spellcheck: "false",
    value: asked.get("filter") ?? asked.get("q") ?? "",
  });
  const chosen = ["", ...KINDS].map((each) => h("option", { value: each, selected: asked.get("kind") === each }, each || "Every kind"));
  const of = h("select", { "aria-label": "Kind" }, chosen);
  const failed = h("input", { type: "checkbox", checked: asked.get("status") === "ERROR" });
  const fault = h("div", { id: "fault", role: "alert" });
  const list = table("Spans", COLUMNS, ["Took", "Tokens"]);
  const more = h("button", { type: "button", class: "quiet", hidden: true }, "Show more");
  const empty = h("p", { class: "dim", hidden: true }, "No spans match.");
  const plain = h("span", {}, of, " ", h("label", {}, failed, " only errors"));
  const go = () => {
    const also = by.value === "q" ? { kind: of.value, status: failed.checked && "ERROR" } : {};
    location.hash = place(["projects", project, "spans"], { [by.value]: text.value.trim(), ...also });
  };
  const form = h(
    "form",
    { class: "bar", role: "search", onsubmit: (event) => (event.preventDefault(), go()) },
    by,
    text,
    h("button", {}, "Search"),
    plain,
  );
  const suit = () => {
    plain.hidden = by.value === "filter";
    text.placeholder = by.value === "q" ? "every word in name, input, output or attributes" : EXAMPLES[0];
  };
  by.addEventListener("change", suit);
  for (const input of [of, failed]) input.addEventListener("change", go);
  suit();
  const examples = h(
    "details",
    { class: "help" },
    h("summary", {}, "Filters"),
    h(
      "ul",
      {},
      EXAMPLES.map((each) => h("li", {}, h("a", { href: place(["projects", project, "spans"], { filter: each }) }, h("code", {}, each)))),
    ),
  );
  await inProject(shown, project, "spans", form, fault, examples, h("section", {}, list.element, empty, more));

  let understood = true;
  const read = async (signal) => {
    if (!understood) return;
    try {
      const found = asked.get("q")
        ? await searched(project, asked, limit, signal)
        : await filtered(project, asked.get("filter") ?? narrowed(asked), limit, signal);
      fill(
        list.body,
        found.items,
        (item) => item.trace_id + item.span_id,
        (item) => line(project, item),
      );
      empty.hidden = found.items.length > 0;
      more.hidden = !found.more || limit >= MOST;
    } catch (error) {
      if (error.status !== 422) throw error;
      understood = false;
      fault.replaceChildren(...explained(error.message, text));
      fill(list.body, [], String, String);
    }
  };
  more.addEventListener("click", () => {
    limit = Math.min(2 * limit, MOST);
    shown.attempt(read);
  });
  return shown.follow(3, read);
}

async function searched(project, asked, limit, signal) {
  const query = { q: asked.get("q"), span_kind: asked.get("kind"), status_code: asked.get("status"), limit };
  const page = await call("search", { path: { project }, query, signal });
  const items = page.data.map((span) => ({
    ...span.context,
    name: span.name,
    span_kind: span.span_kind,
    status_code: span.status_code,
    start_time: span.start_time,
    end_time: span.end_time,
    input: brief(span.attributes["input.value"]),
    output: brief(span.attributes["output.value"]),
    tokens: tokens(span),
  }));
  return { items, more: page.next_cursor !== null };
}

/** The condition for a kind and a status; empty without them. */
const narrowed = (asked) =>
  [KINDS.includes(asked.get("kind")) && `span_kind == '${asked.get("kind")}'`, asked.get("status") === "ERROR" && "status_code == 'ERROR'"]
    .filter(Boolean)
    .join(" and ");

async function filtered(project, condition, limit, signal) {
  const select = Object.fromEntries(Object.entries(SELECTED).map(([name, key]) => [name, { key }]));
  const rows = await call("query", {
    query: { project_name: project },
    body: { queries: [{ filter: { condition }, select }], limit: limit + 1 },
    signal,
  });
  const items = rows.slice(0, limit).map((each) => ({
    ...each,
    span_id: each["context.span_id"],
    trace_id: each["context.trace_id"],
    input: brief(each.input),
    output: brief(each.output),
    tokens: (each.prompt ?? 0) + (each.completion ?? 0),
  }));
  return { items, more: rows.length > limit };
}

/** What is wrong with a condition, with a mark below the place that the message names. */
function explained(message, input) {
  const [, line, column] = /line (\d+), column (\d+)/.exec(message) ?? [];
  if (!column) return [h("p", {}, message)];
  const wrong = input.value.trim().split("\n")[line - 1] ?? "";
  return [h("pre", {}, `${wrong}\n${" ".repeat(Math.max(0, column - 1))}^`), h("p", {}, message)];
}

function line(project, span) {
  const name = h("a", { href: place(["projects", project, "traces", span.trace_id], { span: span.span_id }) }, span.name || "(no name)");
  return row(
    h("div", { class: "name" }, status(span), " ", kind(span.span_kind), " ", name),
    [brief(span.input), "text"],
    [brief(span.output), "text"],
    [when(span.start_time), "dim"],
    [span.end_time ? duration(latency(span)) : "running", "num"],
    [whole(span.tokens || null), "num"],
  );
}
