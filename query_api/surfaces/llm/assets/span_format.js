/** Spans as people read them. */

import { h } from "./dom.js";
import { instant } from "./format.js";

export const kind = (name) => h("span", { class: "kind", "data-kind": name }, name);

/** How a span ended, in words and color. */
export function status(span) {
  const [word, look] = !span.end_time
    ? ["running", "warn"]
    : span.status_code === "ERROR"
      ? ["error", "bad"]
      : span.status_code === "OK"
        ? ["ok", "good"]
        : ["ended", ""];
  return h("i", { class: `dot ${look}`, role: "img", "aria-label": word, title: word });
}

export const latency = (span) => (span.end_time ? instant(span.end_time) - instant(span.start_time) : null);
