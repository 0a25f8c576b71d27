// Choices kept on this device. In a frame of another site the browser may refuse to keep anything:
// then a choice holds for as long as the page is open.
const held = new Map();

export function kept(key, otherwise) {
  try {
    return localStorage.getItem(key) ?? held.get(key) ?? otherwise;
  } catch {
    return held.get(key) ?? otherwise;
  }
}

export function keep(key, value) {
  held.set(key, String(value));
  try {
    localStorage.setItem(key, value);
  } catch {
    // held above
  }
}
