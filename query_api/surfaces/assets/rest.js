/** Requests to the REST API of a surface. Nothing else on a page fetches. */

/** An answer that is no success. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The address below `base` of an operation such as `GET /runs/{run}`. `path` fills it, a list in `query` repeats the parameter, null leaves it out. */
export function address(base, operation, { path = {}, query = {} } = {}) {
  const [, template] = operation.split(" ");
  const filled = template.replace(/\{(\w+)\}/g, (_, part) => encodeURIComponent(path[part]));
  const pairs = Object.entries(query).flatMap(([field, value]) => [value].flat().map((each) => [field, each]));
  const asked = new URLSearchParams(pairs.filter(([, value]) => value !== null && value !== undefined && value !== ""));
  return `${base}${filled}${asked.size ? `?${asked}` : ""}`;
}

/** Sends it: the type and the text of the answer. `reason` says what a text that is no success means. Throws Refused. */
export async function send(base, operation, { body, signal, ...where }, reason, headers = {}) {
  const [method] = operation.split(" ");
  const sent = { accept: "application/json", ...headers };
  if (body !== undefined) sent["content-type"] = "application/json";
  const answer = await fetch(address(base, operation, where), { method, headers: sent, body: body && JSON.stringify(body), signal });
  const text = await answer.text();
  if (!answer.ok) throw new Refused(answer.status, reason(text) || `the server answered ${answer.status}`);
  return { type: answer.headers.get("content-type") ?? "", text };
}

/** Every item of a list, over at most `most` pages; `more` says whether there are others. `page` reads the one behind a cursor: `[items, next cursor]`. */
export async function pages(page, most) {
  const data = [];
  let cursor = null;
  for (let read = 0; read < most && (cursor || !read); read += 1) {
    const [items, next] = await page(cursor);
    data.push(...items);
    cursor = next;
  }
  return { data, more: Boolean(cursor) };
}
