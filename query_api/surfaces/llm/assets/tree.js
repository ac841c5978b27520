/** The spans of a trace as a tree, whatever their parents say. */

import { instant } from "./format.js";

/**
 * Every span once, parents before their children, siblings by their start: `{span, depth, parent, children, note}`.
 * `note` says why a span without its parent above it stands where it does: its parent is not stored, or it is its own ancestor.
 */
export function treeOf(spans) {
  const sorted = [...spans].sort((a, b) => instant(a.start_time) - instant(b.start_time));
  const known = new Map(sorted.map((span) => [span.context.span_id, span]));
  const children = new Map();
  for (const span of sorted) {
    const parent = known.has(span.parent_id) ? span.parent_id : null;
    if (!children.has(parent)) children.set(parent, []);
    children.get(parent).push(span);
  }
  const rows = [];
  const placed = new Set();
  const descend = (root, note) => {
    const waiting = [{ span: root, depth: 0, parent: null, note }];
    while (waiting.length) {
      const { span, depth, parent, note: said } = waiting.pop();
      const id = span.context.span_id;
      if (placed.has(id)) continue;
      placed.add(id);
      const below = (children.get(id) ?? []).filter((child) => !placed.has(child.context.span_id));
      rows.push({ span, depth, parent, note: said, children: below.length });
      for (const child of [...below].reverse()) waiting.push({ span: child, depth: depth + 1, parent: id, note: "" });
    }
  };
  for (const span of children.get(null) ?? []) descend(span, span.parent_id ? "its parent is not stored" : "");
  for (const span of sorted) if (!placed.has(span.context.span_id)) descend(span, "its parents form a circle");
  return rows;
}
