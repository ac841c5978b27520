/** One trace: its spans as a waterfall, and what the chosen one holds. */

import { all, call } from "./api.js";
import { cost, tokens } from "./attributes.js";
import { fill, h } from "./dom.js";
import { duration, instant, money, when, whole } from "./format.js";
import { place } from "./place.js";
import { projectLink } from "./project.js";
import { detail } from "./span.js";
import { kind, latency, status } from "./span_format.js";
import { treeOf } from "./tree.js";

const PAGES = 10;
const PAGE = 500;
const DEEPEST = 14;
const READ_AGAIN = 2000;
const SETTLED_MS = 60_000;

export async function trace(shown, { project, trace: id }) {
  const tree = h("div", { class: "tree", role: "tree", "aria-label": "Spans" });
  const facts = h("p", { class: "dim", role: "status" });
  const side = h("section", { class: "detail", "aria-label": "Chosen span" });
  const closed = new Set();
  const state = { chosen: shown.query.get("span"), spans: [], rows: [], prices: new Map(), drawn: "" };

  const choose = (span) => {
    state.chosen = span.context.span_id;
    history.replaceState(null, "", place(["projects", project, "traces", id], { span: state.chosen }));
    draw();
  };
  const toggle = (row, shut) => {
    if (row.children && shut !== closed.has(row.span.context.span_id)) {
      if (shut) closed.add(row.span.context.span_id);
      else closed.delete(row.span.context.span_id);
      draw();
      return true;
    }
    return false;
  };

  function draw() {
    const scale = scaleOf(state.spans);
    const rows = visible(state.rows, closed);
    const chosen = rows.find((each) => each.span.context.span_id === state.chosen) ?? rows[0];
    const items = rows.map((each) => ({
      ...each,
      span: undefined,
      ...outline(each.span),
      shut: closed.has(each.span.context.span_id),
      chosen: each === chosen,
      left: scale.left(each.span),
      width: scale.width(each.span),
    }));
    const focused = tree.contains(document.activeElement);
    fill(
      tree,
      items,
      (item) => item.id,
      (item) => bar(item, rows, { choose, toggle }),
    );
    if (focused) tree.querySelector("[aria-selected=true]")?.focus();
    const found = state.spans.find((span) => span.context.span_id === state.chosen) ?? chosen?.span;
    const signature = JSON.stringify(found);
    if (found && signature !== state.drawn) {
      state.drawn = signature;
      side.replaceChildren(...detail(shown, project, found, state.prices.get(found.attributes["llm.model_name"])));
    }
  }

  tree.addEventListener("keydown", (event) => {
    const rows = visible(state.rows, closed);
    const at = Math.max(
      0,
      rows.findIndex((each) => each.span.context.span_id === state.chosen),
    );
    const to = moved(event.key, rows, at, toggle);
    if (to === null) return;
    event.preventDefault();
    choose(rows[to]?.span ?? rows[at].span);
  });

  let growing = true;
  shown.put(
    `Trace ${id.slice(0, 8)}…`,
    [["Projects", "projects"], await projectLink(shown, project, "traces")],
    facts,
    h("div", { class: "trace" }, h("section", { class: "waterfall" }, tree), side),
  );
  await shown.follow(3, async (signal) => {
    if (!growing) return;
    const { data, more } = await all("spans", { path: { project }, query: { trace_id: id, limit: PAGE }, signal }, PAGES);
    if (!data.length) {
      facts.replaceChildren("No span of this trace is stored in this project: it was deleted or moved, or has not arrived yet.");
      return;
    }
    growing = mayGrow(data);
    Object.assign(state, { spans: data, rows: treeOf(data) });
    if (data.some(tokens)) state.prices = await prices(project, signal);
    facts.replaceChildren(...summary(state, more));
    document.querySelector(".title").textContent = state.rows[0].span.name || id;
    draw();
  });
}

/** Whether spans may still come or end: one runs, there is no root yet, or the last one ended a moment ago. Very large traces are read once. */
function mayGrow(spans) {
  const last = Math.max(...spans.map((span) => instant(span.end_time ?? span.start_time)));
  return (
    spans.length <= READ_AGAIN && (spans.some((span) => !span.end_time) || spans.every((span) => span.parent_id) || Date.now() - last < SETTLED_MS)
  );
}

/** What a row needs of a span: small, because it is compared at every refresh. */
const outline = (span) => ({
  id: span.context.span_id,
  name: span.name,
  kind: span.span_kind,
  code: span.status_code,
  end: span.end_time,
  took: latency(span),
  tokens: tokens(span),
});

function bar(item, rows, { choose, toggle }) {
  const { id, depth, note, children, shut } = item;
  const mine = () => rows.find((each) => each.span.context.span_id === id);
  const twist = h(
    "button",
    { type: "button", class: "twist", tabindex: "-1", "aria-hidden": "true", style: { visibility: children ? "visible" : "hidden" } },
    shut ? "▸" : "▾",
  );
  twist.addEventListener("click", (event) => (event.stopPropagation(), toggle(mine(), !shut)));
  const shape = {
    class: `span-bar ${item.code === "ERROR" ? "failed" : ""} ${item.end ? "" : "running"}`,
    "data-kind": item.kind,
    style: { left: `${item.left}%`, width: `${item.width}%` },
  };
  const attributes = {
    role: "treeitem",
    class: "branch",
    "aria-level": depth + 1,
    "aria-selected": String(item.chosen),
    "aria-expanded": children ? String(!shut) : null,
    tabindex: item.chosen ? "0" : "-1",
    onclick: () => choose(mine().span),
  };
  return h(
    "div",
    attributes,
    h(
      "span",
      { class: "label", style: { "padding-left": `${Math.min(depth, DEEPEST) * 0.9}rem` } },
      twist,
      status({ end_time: item.end, status_code: item.code }),
      " ",
      kind(item.kind),
      " ",
      h("span", { class: "span-name", title: item.name }, item.name || "(no name)"),
      note && h("em", { title: note }, ` ${note}`),
    ),
    h("span", { class: "track" }, h("span", shape)),
    h("span", { class: "num dim" }, item.end ? duration(item.took) : "running"),
  );
}

/** The rows below no closed one. */
function visible(rows, closed) {
  const hidden = new Set();
  return rows.filter(({ span, parent }) => {
    if (parent !== null && (closed.has(parent) || hidden.has(parent))) hidden.add(span.context.span_id);
    return !hidden.has(span.context.span_id);
  });
}

/** Where a key leads from row `at`; null where it leads nowhere. */
function moved(key, rows, at, toggle) {
  const row = rows[at];
  switch (key) {
    case "ArrowDown":
      return Math.min(at + 1, rows.length - 1);
    case "ArrowUp":
      return Math.max(at - 1, 0);
    case "Home":
      return 0;
    case "End":
      return rows.length - 1;
    case "ArrowRight":
      return toggle(row, false) ? at : row.children ? at + 1 : at;
    case "ArrowLeft":
      return toggle(row, true) || row.parent === null ? at : rows.findIndex((each) => each.span.context.span_id === row.parent);
    case "Enter":
    case " ":
      return at;
    default:
      return null;
  }
}

/** Percent of the width of the waterfall. */
function scaleOf(spans) {
  const now = Date.now();
  const ends = (span) => Math.max(instant(span.start_time), span.end_time ? instant(span.end_time) : now);
  const first = Math.min(...spans.map((span) => instant(span.start_time)));
  const wide = Math.max(...spans.map(ends)) - first || 1;
  const percent = (ms) => +((100 * ms) / wide).toFixed(2);
  return { left: (span) => percent(instant(span.start_time) - first), width: (span) => percent(ends(span) - instant(span.start_time)) };
}

/** Prices of the project's models now. */
async function prices(project, signal) {
  const { data } = await call("costs", { path: { project }, query: { by: "model", limit: 1000 }, signal });
  return new Map(data.map(({ value, units, currency }) => [value, { units, currency }]));
}

function summary({ spans, prices }, more) {
  const running = spans.filter((span) => !span.end_time).length;
  const first = spans.reduce((a, b) => (instant(a.start_time) < instant(b.start_time) ? a : b));
  const ends = spans.filter((span) => span.end_time).map((span) => instant(span.end_time));
  const used = spans.reduce((sum, span) => sum + (span.span_kind === "LLM" ? tokens(span) : 0), 0);
  const costly = spans
    .filter((span) => span.span_kind === "LLM" && tokens(span))
    .map((span) => ({ price: prices.get(span.attributes["llm.model_name"]), span }));
  const amounts = costly.map(({ price, span }) => cost(span, price?.units));
  const priced = amounts.length > 0 && amounts.every((amount) => amount !== null);
  const texts = [
    `${whole(spans.length)}${more ? " newest" : ""} spans`,
    running ? `${running} running` : duration(Math.max(...ends) - instant(first.start_time)),
    used && `${whole(used)} tokens`,
    priced &&
      `${money(
        amounts.reduce((sum, amount) => sum + amount, 0),
        costly[0].price.currency,
      )} at today's prices`,
  ];
  return [texts.filter(Boolean).join(" · "), " · began ", when(first.start_time)];
}
