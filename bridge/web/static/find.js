// Finding letters inside one meeting: whatever their case and accents. Needs no document.

const LIGATURES = { œ: 'oe', æ: 'ae', ß: 'ss', '’': "'" };

/** A text without case and accents, and for each of its letters where it came from. */
function folded(text) {
  let letters = '';
  const from = [];
  let at = 0;
  for (const sign of text) {
    const lower = sign.toLowerCase();
    const plain = (LIGATURES[lower] ?? lower).normalize('NFD').replace(/\p{M}/gu, '');
    letters += plain;
    for (let n = 0; n < plain.length; n += 1) from.push(at);
    at += sign.length;
  }
  from.push(text.length);
  return { letters, from };
}

/**
 * Where a query stands in a text: [[start, end], …] without overlaps; none for an empty query.
 * An accent written as a sign of its own belongs to the letter before it.
 */
export function places(text, query) {
  const wanted = folded(query.trim().replace(/\s+/gu, ' ')).letters;
  if (!wanted) return [];
  const { letters, from } = folded(text);
  const found = [];
  for (let at = letters.indexOf(wanted); at >= 0; at = letters.indexOf(wanted, at + wanted.length)) {
    found.push([from[at], from[at + wanted.length]]);
  }
  return found;
}

/** The text in pieces: [{text, found}], the found ones to be marked. */
export function pieces(text, query) {
  const cut = [];
  let at = 0;
  for (const [start, end] of places(text, query)) {
    if (start > at) cut.push({ text: text.slice(at, start), found: false });
    cut.push({ text: text.slice(start, end), found: true });
    at = end;
  }
  if (at < text.length || !cut.length) cut.push({ text: text.slice(at), found: false });
  return cut;
}
