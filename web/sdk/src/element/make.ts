/**
 * Makes an element with its attributes and children. No HTML is parsed anywhere: what somebody said is text, and a page's
 * policy (CSP, Trusted Types) has nothing to forbid.
 * @internal
 */
export function make<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Record<string, string | undefined> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value !== undefined) element.setAttribute(attribute, value);
  }
  element.append(...children);
  return element;
}
