// Making and changing what is on the page.

export const $ = (id) => document.getElementById(id);

// An unchanged text is left alone, or a screen reader would say it again every second.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== ""));
  return made;
}

export function shape(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#${name}`);
  svg.append(use);
  return svg;
}

// Puts new children in place of the old ones; what had the focus has it again, found by its address.
export function replace(container, ...children) {
  const href = container.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  container.replaceChildren(...children);
  if (href) container.querySelector(`a[href="${CSS.escape(href)}"]`)?.focus();
}

// Calls `show` when the value is another than the last time: lists keep their place and the selection.
export function whenChanged(show) {
  let shown = null;
  return (value) => {
    const text = JSON.stringify([value, new Date().toDateString()]);
    if (text === shown) return;
    show(value);
    shown = text;
  };
}
