// Single-key shortcuts of a call. They can be turned off (WCAG 2.1.4) and never act while one types.
const KEPT = 'colloque.shortcuts';

export function shortcutsOn() {
  return localStorage.getItem(KEPT) !== 'off';
}

export function setShortcuts(on) {
  localStorage.setItem(KEPT, on ? 'on' : 'off');
}

/** @param {Record<string, () => void>} actions by key, lower case @returns a function that ends it */
export function listenToKeys(actions) {
  const onKey = (event) => {
    if (!shortcutsOn() || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target.closest('input, select, textarea, [contenteditable], dialog')) return;
    const action = actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  };
  document.addEventListener('keydown', onKey);
  return () => document.removeEventListener('keydown', onKey);
}
