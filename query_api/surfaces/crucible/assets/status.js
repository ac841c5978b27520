/** States of experiments and runs, and the moves between them. */

import { call } from "./api.js";
import { h } from "./dom.js";

const LOOKS = { running: "warn", completed: "good", failed: "bad" };
const MOVES = { pending: ["start", "cancel"], running: ["pause", "cancel"], paused: ["resume", "cancel"] };
const WORDS = { start: "Start", pause: "Pause", resume: "Resume", cancel: "Cancel" };

export const state = (name) => h("span", { class: `state ${LOOKS[name] ?? ""}` }, h("i", { class: `dot ${LOOKS[name] ?? ""}`, "aria-hidden": "true" }), name);

/** Buttons for what can be done with an experiment as it is; `moved` is done after one was pressed. */
export const moves = (shown, { id, name, status }, moved) =>
  h(
    "div",
    { class: "moves" },
    (MOVES[status] ?? []).map((move) => button(WORDS[move], name, move === "cancel", () => act(shown, id, move, moved))),
  );

async function act(shown, experiment, move, moved) {
  if (await shown.attempt((signal) => call(move, { path: { experiment }, signal }))) moved();
}

/** What cannot be undone asks for a second press, until the focus is elsewhere. */
function button(words, name, final, pressed) {
  const made = h("button", { type: "button", class: "quiet", "aria-label": `${words} ${name}` }, words);
  let sure = !final;
  made.addEventListener("click", () => {
    if (sure) pressed();
    else {
      sure = true;
      made.textContent = `${words} for good?`;
      made.setAttribute("aria-label", `${words} ${name} for good?`);
    }
  });
  made.addEventListener("blur", () => {
    sure = !final;
    made.textContent = words;
    made.setAttribute("aria-label", `${words} ${name}`);
  });
  return made;
}
