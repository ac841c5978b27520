/** Prompts, and the versions of one of them. */

import { all, call } from "./api.js";
import { fill, h, row, table } from "./dom.js";
import { block, chip } from "./format.js";
import { place } from "./place.js";

export function prompts(shown) {
  const list = table("Prompts", ["Name", "Description"]);
  const empty = h("p", { class: "dim", hidden: true }, "No prompts. The clients create them, and so does POST v1/prompts.");
  shown.put("Prompts", [], h("section", {}, list.element, empty));
  return shown.follow(10, async (signal) => {
    const { data } = await all("prompts", { query: { limit: 1000 }, signal });
    fill(
      list.body,
      data,
      (prompt) => prompt.id,
      ({ id, name, description }) => row(h("a", { href: place(["prompts", id]) }, name), [description ?? "", "dim"]),
    );
    empty.hidden = data.length > 0;
  });
}

export async function prompt(shown, { prompt: id }) {
  const list = h("div");
  await shown.attempt(async (signal) => {
    const { data: known } = await all("prompts", { query: { limit: 1000 }, signal });
    const found = known.find((each) => each.id === id || each.name === id);
    shown.put(found?.name ?? id, [["Prompts", "prompts"]], found?.description && h("p", { class: "dim" }, found.description), list);
    const { data } = await call("promptVersions", { path: { prompt: id }, query: { limit: 100 }, signal });
    list.replaceChildren(...data.map((each, at) => version(shown, each, at === 0)));
  });
}

function version(
  shown,
  { id, description, model_provider: provider, model_name: model, template, invocation_parameters: parameters, tools, response_format: form },
  newest,
) {
  const tags = h("span");
  shown.attempt(async (signal) => {
    const { data } = await call("promptTags", { path: { version: id }, signal });
    tags.replaceChildren(...data.map((tag) => chip(tag.name)));
  });
  const rest = Object.entries({ "Invocation parameters": parameters[parameters.type], Tools: tools?.tools, "Response format": form?.json_schema });
  return h(
    "section",
    {},
    h(
      "details",
      { open: newest },
      h(
        "summary",
        {},
        h("code", {}, id),
        ` ${description ?? ""} `,
        h("span", { class: "dim" }, `${provider} ${model} `),
        newest && chip("newest"),
        tags,
      ),
      template.type === "chat" ? template.messages.map(message) : block(template.template),
      rest.filter(([, value]) => value && Object.keys(value).length).map(([name, value]) => [h("h3", {}, name), block(value)]),
    ),
  );
}

const message = ({ role, content }) =>
  h(
    "div",
    { class: `said ${role === "user" ? "user" : ""}` },
    h("p", {}, chip(role)),
    typeof content === "string" ? block(content) : content.map((piece) => block(piece.text ?? piece)),
  );
