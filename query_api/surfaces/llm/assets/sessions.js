/** The sessions of a project, and one of them turn by turn. */

import { all, call } from "./api.js";
import { annotations } from "./annotations.js";
import { fill, h, row, table } from "./dom.js";
import { block, duration, instant, when, whole } from "./format.js";
import { place } from "./place.js";
import { inProject, projectLink } from "./project.js";
import { status } from "./span_format.js";
import { rootsOf } from "./traces.js";

export async function sessions(shown, { project }) {
  const list = table("Sessions", ["Session", "Traces", "Began", "Took", "Tokens"], ["Traces", "Took", "Tokens"]);
  const empty = h("p", { class: "dim", hidden: true }, "No sessions. Spans with the attribute session.id make them.");
  await inProject(shown, project, "sessions", h("section", {}, list.element, empty));
  return shown.follow(5, async (signal) => {
    const { data } = await call("sessions", { path: { project }, query: { order: "desc", limit: 100 }, signal });
    fill(
      list.body,
      data,
      (session) => session.id,
      (session) =>
        row(
          h("a", { href: place(["projects", project, "sessions", session.id]) }, session.session_id),
          [whole(session.traces.length), "num"],
          [when(session.start_time), "dim"],
          [duration(instant(session.end_time) - instant(session.start_time)), "num"],
          [whole(session.token_count_total), "num"],
        ),
    );
    empty.hidden = data.length > 0;
  });
}

export async function session(shown, { project, session: id }) {
  const found = await shown.attempt((signal) => call("session", { path: { session: id }, signal }));
  if (!found) return;
  const { session_id: name } = found.data;
  const facts = h("p", { class: "dim", role: "status" });
  const turns = h("ol", { class: "turns" });
  const said = annotations(shown, project, {
    list: "sessionAnnotations",
    write: "annotateSession",
    note: "noteSession",
    field: "session_id",
    id: name,
  });
  shown.put(
    name,
    [["Projects", "projects"], await projectLink(shown, project, "sessions")],
    facts,
    h("section", {}, turns),
    h("section", {}, h("h2", {}, "Annotations"), said.element),
  );
  shown.attempt(said.read);
  await shown.follow(5, async (signal) => {
    const { data } = await call("session", { path: { session: id }, signal });
    const roots = await rootsOf(
      project,
      data.traces.map((trace) => trace.trace_id),
      signal,
    );
    facts.replaceChildren(`${whole(data.traces.length)} turns · ${whole(data.token_count_total)} tokens · began `, when(data.start_time));
    fill(
      turns,
      data.traces.map((trace) => ({ ...trace, root: roots.get(trace.trace_id) })),
      (trace) => trace.id,
      (trace) => turn(project, trace),
    );
  });
}

function turn(project, { trace_id: trace, start_time: began, end_time: ended, root }) {
  const head = [
    root && status(root),
    " ",
    h("a", { href: place(["projects", project, "traces", trace]) }, root?.name || trace),
    " ",
    h("span", { class: "dim" }, when(began), root && !root.end_time ? " · running" : ` · ${duration(instant(ended) - instant(began))}`),
  ];
  return h(
    "li",
    {},
    h("p", { class: "name" }, head),
    h("div", { class: "said user" }, block(root?.input ?? "")),
    h("div", { class: "said" }, block(root?.output ?? "")),
  );
}
