/** Addresses of the page, all behind the `#`: `#/projects/ID/traces?order=desc`. */

/** An address of these segments; parameters without a value are left out. */
export function place(segments, query = {}) {
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value));
  return `#/${segments.map(encodeURIComponent).join("/")}${asked.size ? `?${asked}` : ""}`;
}

/** What an address says. */
export function parsed(hash) {
  const [path, asked = ""] = split(hash.replace(/^#\/?/, ""));
  return { segments: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(asked) };
}

/** The values that `pattern`, such as `projects/:project/traces`, gives to its names; null where it does not fit. */
export function match(pattern, segments) {
  const parts = pattern.split("/");
  if (parts.length !== segments.length) return null;
  const found = {};
  for (const [at, part] of parts.entries()) {
    if (part.startsWith(":")) found[part.slice(1)] = segments[at];
    else if (part !== segments[at]) return null;
  }
  return found;
}

function split(text) {
  const at = text.indexOf("?");
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
