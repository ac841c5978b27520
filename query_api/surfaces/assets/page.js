/** The frame of a page: which address shows what, the gate where a key is asked for, and what went wrong. */

import { match, parsed } from "./place.js";
import { Refused } from "./rest.js";
import { Shown } from "./shown.js";

const element = (id) => document.getElementById(id);

/**
 * Shows the view of the address, now and whenever it changes. `places` are `[pattern, view]`; `home` is the pattern that the empty address stands for.
 *
 * `access` says how keys are used here: `held()` whether one is, `enter(text)` takes one and may throw Refused, `leave()` gives it up, and `refused()` gives
 * it up after the server did not take it and says so, in no words where none was held.
 */
export function start(places, home, access) {
  let shown = null;

  function problem(error) {
    if (error instanceof Refused && error.status === 401) {
      gate(access.refused());
      return;
    }
    element("forget").hidden = !access.held();
    element("problem").hidden = error === null;
    element("problem").textContent = error === null ? "" : said(error);
  }

  function gate(why) {
    shown?.end();
    element("main").replaceChildren();
    element("problem").hidden = true;
    element("gate").hidden = false;
    element("forget").hidden = true;
    element("why").textContent = why;
    element("key").focus();
  }

  function show() {
    const { segments, query } = parsed(location.hash);
    const asked = segments.length ? segments : [home];
    const [name, view] = places.find(([pattern]) => match(pattern, asked)) ?? [];
    shown?.end();
    shown = new Shown(element("main"), query, problem);
    problem(null);
    element("gate").hidden = true;
    for (const link of element("nav").children) link.setAttribute("aria-current", String(link.hash === `#/${asked[0]}`));
    if (view) view(shown, match(name, asked));
    else shown.put("Nothing is here", [["Back to the beginning", home]]);
  }

  element("enter").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = element("key").value.trim();
    element("key").value = "";
    try {
      await access.enter(text);
    } catch (error) {
      gate(said(error));
      return;
    }
    show();
  });
  element("forget").addEventListener("click", async () => {
    try {
      await access.leave();
      gate("");
    } catch (error) {
      problem(error);
    }
  });
  // Not by the address, which says what is shown.
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    element("main").focus();
  });
  addEventListener("hashchange", () => {
    show();
    element("main").focus();
  });
  show();
}

const said = (error) => (error instanceof Refused ? error.message : `The server cannot be reached: ${error.message}`);
