/** Making elements. Whatever comes from the gallery becomes a text node or an attribute, and is never read as HTML. */

const SVG = "http://www.w3.org/2000/svg";
const SET_AS_PROPERTY = new Set(["value", "checked", "disabled", "hidden", "multiple", "required", "open", "tabIndex"]);

/**
 * Make an element.
 * @param {string} tag Its name.
 * @param {object} properties Attributes by name; `class`, `on…` handlers and `data` (an object) too. Null and false are left out.
 * @param {...(Node|string|number|null|Array)} children What it holds; strings become text.
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name === "class") element.className = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (SET_AS_PROPERTY.has(name)) element[name] = value;
    else if (value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

/** Make an element of a drawing. */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  append(element, children);
  return element;
}

/** Replace what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** One of the icons in index.html; a screen reader skips it. */
export function icon(name) {
  return draw("svg", { class: "icon", "aria-hidden": "true" }, draw("use", { href: `#icon-${name}` }));
}

/** A labelled field of a form. */
export function field(label, control, hint = null) {
  return make("label", { class: "field" }, make("span", {}, label), control, hint && make("small", {}, hint));
}

/** A button. */
export function button(label, onclick, properties = {}) {
  return make("button", { type: "button", onclick, ...properties }, label);
}

/** A list of names and values; a value may be a node. Entries without a value are left out. */
export function definitions(entries) {
  const known = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return make("dl", {}, known.map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}
