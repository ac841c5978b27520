/** What the attributes of a span say, by the names of OpenInference. They are flat: `llm.input_messages.0.message.role`. */

/** The objects of a numbered list, as maps from what stands behind `PREFIX.NUMBER.INNER.`. */
export function listed(attributes, prefix, inner) {
  const found = new Map();
  for (const [name, value] of Object.entries(attributes)) {
    const [, at, rest] = name.startsWith(`${prefix}.`) ? (/^(\d+)\.(.+)$/.exec(name.slice(prefix.length + 1)) ?? []) : [];
    if (at === undefined) continue;
    if (!found.has(at)) found.set(at, new Map());
    found.get(at).set(rest.startsWith(`${inner}.`) ? rest.slice(inner.length + 1) : rest, value);
  }
  return [...found].sort(([a], [b]) => a - b).map(([at, item]) => Object.assign(item, { at: Number(at) }));
}

/** The members whose names begin so, as entries without the beginning. */
export const below = (attributes, prefix) =>
  Object.entries(attributes)
    .filter(([name]) => name.startsWith(`${prefix}.`))
    .map(([name, value]) => [name.slice(prefix.length + 1), value]);

/** Messages: `{role, name, texts, images, calls, answers}`. */
export function messages(attributes, prefix) {
  return listed(attributes, prefix, "message").map((message) => {
    const item = Object.fromEntries(message);
    const contents = listed(item, "contents", "message_content");
    return {
      role: item.role ?? "",
      name: item.name ?? "",
      texts: [item.content, ...contents.map((part) => part.get("text"))].filter((text) => text !== undefined && text !== null && text !== ""),
      images: contents.map((part) => part.get("image.image.url")).filter(Boolean),
      calls: listed(item, "tool_calls", "tool_call").map((call) => ({
        name: call.get("function.name") ?? "",
        arguments: call.get("function.arguments") ?? "",
        id: call.get("id") ?? "",
      })),
      answers: item.tool_call_id ?? "",
    };
  });
}

/** What was retrieved or ranked: `{at, id, score, content, metadata}`. */
export const documents = (attributes, prefix) =>
  listed(attributes, prefix, "document").map((document) => ({
    at: document.at,
    id: document.get("id"),
    score: document.get("score"),
    content: document.get("content") ?? "",
    metadata: [...document].filter(([name]) => name.startsWith("metadata")),
  }));

export const TOKENS = [
  ["prompt", "llm.token_count.prompt"],
  ["of these cached", "llm.token_count.prompt_details.cache_read"],
  ["completion", "llm.token_count.completion"],
  ["of these reasoning", "llm.token_count.completion_details.reasoning"],
];

export const tokens = ({ attributes }) =>
  attributes["llm.token_count.total"] ?? (attributes["llm.token_count.prompt"] ?? 0) + (attributes["llm.token_count.completion"] ?? 0);

/** What a span cost under the prices of its model, `{prompt_tokens: {unit_price, per}}`; null when one that it needs is missing. */
export function cost({ attributes }, units) {
  const [prompt, cached, completion, reasoning] = TOKENS.map(([, name]) => attributes[name] ?? 0);
  const used = [
    ["prompt_tokens", prompt - cached],
    ["cached_tokens", cached],
    ["completion_tokens", completion - reasoning],
    ["reasoning_tokens", reasoning],
  ];
  let amount = 0;
  for (const [unit, quantity] of used) {
    if (quantity <= 0) continue;
    const price = units?.[unit]?.unit_price;
    if (price === null || price === undefined) return null;
    amount += (price * quantity) / units[unit].per;
  }
  return amount;
}
