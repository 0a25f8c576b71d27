// The page's sentences. French unless the browser, or the person, prefers English.
import { fr } from './fr.js';
import { en } from './en.js';
import { keep, kept } from './kept.js';

const CATALOGUES = { fr, en };
const KEPT = 'colloque.language';
let current = 'fr';

/** The first of `wanted` (BCP 47 tags) that the page speaks, else French. */
export function chooseLanguage(wanted, spoken = Object.keys(CATALOGUES)) {
  const tags = wanted.map((tag) => String(tag).toLowerCase().split('-')[0]);
  return tags.find((tag) => spoken.includes(tag) && tag in CATALOGUES) ?? 'fr';
}

export function language() {
  return current;
}

/** The language chosen earlier on this device, else the browser's. */
export function preferredLanguage() {
  const chosen = kept(KEPT, '');
  return chooseLanguage(chosen ? [chosen] : navigator.languages ?? [navigator.language]);
}

export function keepLanguage(tag) {
  keep(KEPT, tag);
}

/** Puts the whole document into a language: `data-i18n` is text, `data-i18n-label` aria-label. */
export function speak(tag) {
  current = tag;
  document.documentElement.lang = tag;
  for (const node of document.querySelectorAll('[data-i18n]')) {
    node.textContent = say(node.dataset.i18n);
  }
  for (const node of document.querySelectorAll('[data-i18n-label]')) {
    node.setAttribute('aria-label', say(node.dataset.i18nLabel));
  }
}

/** The sentence of a key. An unknown key is shown as it is, and reported on the console. */
export function say(key, values = {}) {
  const sentence = CATALOGUES[current][key];
  if (sentence === undefined) {
    console.error(`no sentence for ${key}`);
    return key;
  }
  return sentence.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ''));
}
