/** What the page shows now, until another address is gone to. */

import { h } from "./dom.js";
import { place } from "./place.js";

let live = true;

export class Shown {
  #ended = new AbortController();
  #fail;
  #nudged = false;
  #wake = () => {};

  /** `fail` is told what went wrong, and null when it went well again. */
  constructor(main, query, fail) {
    this.main = main;
    this.query = query;
    this.#fail = fail;
  }

  /** Aborted when it is over. */
  get signal() {
    return this.#ended.signal;
  }

  end() {
    this.#ended.abort();
  }

  /** Gives the page its title and content. `trail` are the links to what it is part of: `[text, ...segments]`. Does nothing when it is over. */
  put(title, trail, ...content) {
    if (this.signal.aborted) return;
    document.title = `${title} · Millstream`;
    const links = trail.map(([text, ...segments]) => [h("a", { href: place(segments) }, text), h("span", { "aria-hidden": "true" }, " / ")]);
    this.main.replaceChildren(
      h("div", { class: "trail" }, h("nav", { "aria-label": "Place" }, links), h("h2", { class: "title" }, title)),
      ...content.filter(Boolean),
    );
  }

  /** Gives it another title. */
  title(text) {
    if (this.signal.aborted) return;
    document.title = `${text} · Millstream`;
    this.main.querySelector(".title").textContent = text;
  }

  /** Does something once; what goes wrong is shown. */
  async attempt(work) {
    try {
      const found = await work(this.signal);
      if (!this.signal.aborted) this.#fail(null);
      return found;
    } catch (error) {
      if (!this.signal.aborted) this.#fail(error);
      return undefined;
    }
  }

  /**
   * Does something now, and again that many seconds after it was done, while the page is seen and live. After a nudge it is done sooner, but not within
   * `least` seconds.
   */
  async follow(seconds, work, least = seconds) {
    await this.attempt(work);
    while (!this.signal.aborted) {
      await this.#pause(least);
      if (!this.#nudged) await this.#pause(seconds - least, true);
      this.#nudged = false;
      if (live && !document.hidden && !this.signal.aborted) await this.attempt(work);
    }
  }

  /** Says that what is followed has changed. */
  nudge() {
    this.#nudged = true;
    this.#wake();
  }

  #pause(seconds, early = false) {
    return new Promise((done) => {
      const timer = setTimeout(done, seconds * 1000);
      const end = () => (clearTimeout(timer), done());
      if (early) this.#wake = end;
      this.signal.addEventListener("abort", end, { once: true });
    });
  }
}

/** Stops and starts refreshing by itself. */
export function liveSwitch() {
  const button = h("button", { type: "button", class: "quiet live", "aria-pressed": String(live) }, "Live");
  button.addEventListener("click", () => {
    live = !live;
    button.setAttribute("aria-pressed", String(live));
  });
  return button;
}

/** Links to the parts of something; the current one is marked. `parts` are `[name, segment]`. */
export function tabs(label, base, parts, current) {
  return h(
    "nav",
    { class: "tabs", "aria-label": label },
    parts.map(([name, last]) => h("a", { href: place([...base, last]), "aria-current": last === current && "page" }, name)),
  );
}
