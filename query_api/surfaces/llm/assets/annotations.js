/** What is said about a span, a trace or a session, and the form to say more. */

import { all, call } from "./api.js";
import { h } from "./dom.js";
import { chip, number, when } from "./format.js";

/**
 * `of` names the operations that list, write and note, the field of the id, and the id: `{list, write, note, field, id}`.
 * Gives the element, and `read`, which brings it up to date.
 */
export function annotations(shown, project, of) {
  const items = h("ul", { class: "said-about" });
  const name = h("input", { "aria-label": "Name", placeholder: "name, or note", required: true, list: "names" });
  const label = h("input", { "aria-label": "Label", placeholder: "label" });
  const score = h("input", { "aria-label": "Score", placeholder: "score", type: "number", step: "any" });
  const words = h("textarea", { "aria-label": "Explanation", placeholder: "explanation, or the note itself", rows: "2" });
  const read = async (signal) => {
    const { data } = await all(of.list, { path: { project }, query: { [`${of.field}s`]: of.id, limit: 1000 }, signal });
    items.replaceChildren(...(data.length ? data.map(one) : [h("li", { class: "dim" }, "None yet.")]));
  };
  const write = async (signal) => {
    const target = { [of.field]: of.id };
    const result = { label: label.value || null, score: score.value === "" ? null : Number(score.value), explanation: words.value || null };
    if (name.value.trim() === "note") await call(of.note, { body: { data: { ...target, note: words.value } }, signal });
    else
      await call(of.write, {
        query: { sync: true },
        body: { data: [{ ...target, name: name.value.trim(), annotator_kind: "HUMAN", result }] },
        signal,
      });
    form.reset();
    await read(signal);
  };
  const form = h(
    "form",
    { class: "annotate", onsubmit: (event) => (event.preventDefault(), shown.attempt(write)) },
    name,
    label,
    score,
    words,
    h("button", {}, "Annotate"),
  );
  return {
    element: h(
      "div",
      {},
      items,
      h(
        "datalist",
        { id: "names" },
        ["note", "correctness", "helpfulness"].map((each) => h("option", { value: each })),
      ),
      form,
    ),
    read,
  };
}

/** One annotation. */
export function one({ name, annotator_kind: by, result, document_position: at, created_at: created }) {
  const { label, score, explanation } = result;
  const value = [label, score !== null && score !== undefined ? number(score) : null]
    .filter((each) => each !== null && each !== undefined && each !== "")
    .join(" · ");
  return h(
    "li",
    {},
    chip(name),
    at === undefined ? "" : ` document ${at}`,
    " ",
    h("b", {}, value),
    " ",
    h("span", { class: "dim" }, by, " · ", when(created)),
    explanation && h("p", {}, explanation),
  );
}
