// The two things the views ask of the document over and over.

/** The element with this id; an unknown id is a programming error and throws at once. */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no #${id}`);
  return element;
}

/** Makes an element. Properties are set as properties (never as markup), children are appended. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';

/** A decorative icon out of the sprite in index.html; its meaning must be said in text beside it. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#icon-${name}`);
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  svg.append(use);
  return svg;
}

/** Says something to screen readers without moving the focus. */
export function announce(sentence) {
  byId('announcer').textContent = sentence;
}
