/** Elements made of text and other elements. Nothing on the page reads markup from a string, so what spans hold stays text. */

const SVG = "http://www.w3.org/2000/svg";

/** An element; `on…` members are listeners, `style` holds properties, absent values are left out. */
export const h = (tag, given = {}, ...children) => filled(document.createElement(tag), given, children);

/** The same for drawings. */
export const svg = (tag, given = {}, ...children) => filled(document.createElementNS(SVG, tag), given, children);

function filled(element, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const kept = new WeakMap();

const FOCUSABLE = "a[href], button, input, select";

/**
 * Makes `container` hold one element for each item, in order. An element whose item did not change stays, with its focus and selection; of one that is made
 * anew, what stands where the focus was gets it.
 */
export function fill(container, items, key, make) {
  const before = kept.get(container) ?? new Map();
  const after = new Map();
  for (const item of items) {
    const signature = JSON.stringify(item);
    const old = before.get(key(item));
    after.set(key(item), old?.signature === signature ? old : { signature, element: make(item) });
  }
  kept.set(container, after);
  const focused = [...before].find(([, { element }]) => element.contains(document.activeElement));
  const at = focused && [...focused[1].element.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
  const wanted = [...after.values()].map((each) => each.element);
  for (const child of [...container.children]) if (!wanted.includes(child)) child.remove();
  wanted.forEach((element, at) => {
    if (container.children[at] !== element) container.insertBefore(element, container.children[at] ?? null);
  });
  const anew = focused && after.get(focused[0])?.element;
  if (anew && anew !== focused[1].element) anew.querySelectorAll(FOCUSABLE)[at]?.focus();
}

/** A table with named columns; those in `numbers` are aligned to the right. `body` is where its rows go. */
export function table(label, columns, numbers = []) {
  const body = h("tbody");
  const head = columns.map((name) => h("th", { scope: "col", class: numbers.includes(name) && "num" }, name));
  return { body, element: h("div", { class: "scroll" }, h("table", { "aria-label": label }, h("thead", {}, h("tr", {}, head)), body)) };
}

/** A row of cells: texts, elements, or `[content, class]`. */
export const row = (...cells) =>
  h(
    "tr",
    {},
    cells.map((cell) => (Array.isArray(cell) ? h("td", { class: cell[1] }, cell[0]) : h("td", {}, cell))),
  );

/** What is known of something: `[name, value]`, those whose value is empty left out. */
export const facts = (pairs) =>
  h(
    "dl",
    { class: "facts" },
    pairs.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
