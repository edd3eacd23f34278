// @ts-check
/** Makes an element; what is said in it is text and never HTML.
 * @param {string} name
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  element.append(...children);
  return element;
}

/** An element of the page, by its id.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T} */
export function the(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return /** @type {T} */ (element);
}

/** Text of an unknown value, as people read JSON.
 * @param {unknown} value */
export function pretty(value) {
  return JSON.stringify(value, null, 2);
}

/** Something to open.
 * @param {string | Node} title
 * @param {string} text
 * @param {boolean} [open] */
export function fold(title, text, open = false) {
  return make("details", open ? { open: "" } : {}, make("summary", {}, title), make("pre", { tabindex: "0" }, text));
}
