/** Everything that one span holds. */

import { all } from "./api.js";
import { annotations, one } from "./annotations.js";
import { TOKENS, below, cost, documents, listed, messages } from "./attributes.js";
import { facts, h } from "./dom.js";
import { block, chip, duration, money, number, pretty, when, whole } from "./format.js";
import { place } from "./place.js";
import { kind, latency, status } from "./span_format.js";

const IMAGE = /^data:image\/(?:png|jpeg|gif|webp);base64,/;
const DOCUMENTS = [
  ["Retrieved documents", "retrieval.documents"],
  ["Documents to rank", "reranker.input_documents"],
  ["Ranked documents", "reranker.output_documents"],
];

/** The elements that show a span; `price` is `{units, currency}` of its model, if that is known. */
export function detail(shown, project, span, price) {
  const { attributes } = span;
  const about = {
    span: ["spanAnnotations", "annotateSpan", "noteSpan", "span_id"],
    trace: ["traceAnnotations", "annotateTrace", "noteTrace", "trace_id"],
  };
  const said = Object.entries(about).map(([what, [list, write, note, field]]) => {
    const found = annotations(shown, project, { list, write, note, field, id: span.context[field] });
    shown.attempt(found.read);
    return part(`Annotations of the ${what}`, found.element, what === "span");
  });
  const ofDocuments = h("ul", { class: "said-about" });
  const retrieved = DOCUMENTS.map(([title, prefix]) => many(title, documents(attributes, prefix).map(document), true));
  const hasDocuments = retrieved.some(Boolean);
  if (hasDocuments) shown.attempt((signal) => judged(project, span, ofDocuments, signal));
  return [
    h("h3", { class: "name" }, status(span), " ", kind(span.span_kind), " ", span.name || "(no name)"),
    inShort(project, span, price),
    many("Exceptions", span.events.filter((event) => event.name === "exception").map(exception), true),
    value("Input", attributes, "input"),
    value("Output", attributes, "output"),
    many("Messages to the model", messages(attributes, "llm.input_messages").map(message), true),
    many("Messages of the model", messages(attributes, "llm.output_messages").map(message), true),
    many(
      "Tools",
      listed(attributes, "llm.tools", "tool").map((tool) => block(tool.get("json_schema") ?? Object.fromEntries(tool))),
    ),
    ...retrieved,
    hasDocuments && ofDocuments,
    many(
      "Prompt template",
      [...below(attributes, "llm.prompt_template")].map(([name, text]) => h("div", {}, h("b", {}, name), block(text))),
    ),
    attributes["llm.invocation_parameters"] && part("Invocation parameters", block(attributes["llm.invocation_parameters"])),
    many(
      "Metadata",
      below(attributes, "metadata").map(([name, item]) => h("div", {}, h("b", {}, name), " ", pretty(item))),
    ),
    ...said,
    many("Events", span.events.filter((event) => event.name !== "exception").map(happened)),
    part(`All attributes (${Object.keys(attributes).length})`, pairs(Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1)))),
  ].filter(Boolean);
}

function part(title, content, open = false) {
  return h("details", { open }, h("summary", {}, title), content);
}

const many = (title, elements, open = false) =>
  elements.length > 0 && part(elements.length > 1 ? `${title} (${elements.length})` : title, h("div", {}, elements), open);

const value = (title, attributes, name) => attributes[`${name}.value`] !== undefined && part(title, block(attributes[`${name}.value`]), true);

const pairs = (entries) =>
  h(
    "dl",
    { class: "pairs" },
    entries.map(([name, item]) => [h("dt", { class: "mono" }, name), h("dd", {}, block(item))]),
  );

function inShort(project, span, price) {
  const { attributes } = span;
  const amount = cost(span, price?.units);
  const session = attributes["session.id"];
  const entries = [
    ["Began", when(span.start_time)],
    ["Took", span.end_time ? duration(latency(span)) : "running"],
    ["Status", [span.status_code, span.status_message].filter(Boolean).join(": ")],
    ["Model", attributes["llm.model_name"] ?? attributes["embedding.model_name"]],
    ["Provider", attributes["llm.provider"]],
    [
      "Tokens",
      TOKENS.filter(([, name]) => attributes[name] !== undefined)
        .map(([word, name]) => `${whole(attributes[name])} ${word}`)
        .join(", "),
    ],
    ["Cost", amount ? `${money(amount, price.currency)} at today's prices` : ""],
    ["Tool", attributes["tool.name"]],
    ["User", attributes["user.id"]],
    ["Session", typeof session === "string" && session && h("a", { href: place(["projects", project, "sessions", session]) }, session)],
    ["Tags", [attributes["tag.tags"] ?? []].flat().join(", ")],
    ["Ids", h("span", { class: "mono" }, `${span.context.trace_id} ${span.context.span_id}`)],
  ];
  return facts(entries);
}

function message({ role, name, texts, images, calls, answers }) {
  return h(
    "div",
    { class: `said ${role === "user" ? "user" : ""}` },
    h("p", { class: "dim" }, chip(role || "message"), name && ` ${name}`, answers && ` answers ${answers}`),
    texts.map(block),
    images.map(image),
    calls.map((call) => h("div", {}, h("b", {}, `${call.name}()`), " ", h("span", { class: "dim mono" }, call.id), block(call.arguments))),
  );
}

/** An image that the span carries is shown; one that lies elsewhere is only named, so that nothing is fetched. */
const image = (url) => (IMAGE.test(url) ? h("img", { src: url, alt: "image in the message" }) : h("code", {}, url));

const document = ({ at, id, score, content, metadata }) =>
  h(
    "div",
    { class: "said" },
    h("p", { class: "dim" }, chip(at), id !== undefined && ` ${id}`, score !== undefined && ` · score ${number(Number(score))}`),
    block(content),
    metadata.length > 0 && block(Object.fromEntries(metadata)),
  );

function exception({ timestamp, attributes }) {
  const title = [attributes["exception.type"], attributes["exception.message"]].filter(Boolean).join(": ");
  return h(
    "div",
    { class: "said failed" },
    h("p", {}, h("b", {}, title), " ", h("span", { class: "dim" }, when(timestamp))),
    attributes["exception.stacktrace"] && block(attributes["exception.stacktrace"]),
  );
}

const happened = ({ name, timestamp, attributes }) =>
  h(
    "div",
    { class: "said" },
    h("p", {}, h("b", {}, name), " ", h("span", { class: "dim" }, when(timestamp))),
    Object.keys(attributes).length > 0 && pairs(Object.entries(attributes)),
  );

async function judged(project, span, list, signal) {
  const { data } = await all("documentAnnotations", { path: { project }, query: { span_ids: span.context.span_id, limit: 1000 }, signal });
  list.replaceChildren(...data.map(one));
}
