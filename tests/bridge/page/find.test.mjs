// Finding inside a meeting, without a document: run by `node --test` (test_page_logic.py calls it).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pieces, places } from '../../../bridge/web/static/find.js';

const found = (text, query) => places(text, query).map(([start, end]) => text.slice(start, end));

test('case and accents do not matter, on either side', () => {
  assert.deepEqual(found('Élève, eleve, ÉLÈVE', 'éleve'), ['Élève', 'eleve', 'ÉLÈVE']);
  assert.deepEqual(found('L’œuvre', "l'oeuvre"), ['L’œuvre']);
  assert.deepEqual(found('Straße', 'STRASSE'), ['Straße']);
});

test('an accent that is a sign of its own goes with its letter', () => {
  assert.deepEqual(found('un e\u0301le\u0300ve ici', 'eleve'), ['e\u0301le\u0300ve']);
  assert.deepEqual(found('un élève ici', 'e\u0301le\u0300ve'), ['élève']);
});

test('nothing is found for nothing, and no sign has a meaning of its own', () => {
  assert.deepEqual(found('a.b*c', ''), []);
  assert.deepEqual(found('a.b*c', '   '), []);
  assert.deepEqual(found('a.b*c', '\u0301'), []);
  assert.deepEqual(found('a.b*c', '.b*'), ['.b*']);
  assert.deepEqual(found('axbxc', '.'), []);
  assert.deepEqual(found('👍 oui 👍', '👍'), ['👍', '👍']);
});

test('places do not overlap, and the pieces are the whole text', () => {
  assert.deepEqual(places('aaaa', 'aa'), [[0, 2], [2, 4]]);
  const cut = pieces('Le budget du budget.', 'budget');
  assert.deepEqual(cut.map(({ found: is }) => is), [false, true, false, true, false]);
  assert.equal(cut.map(({ text }) => text).join(''), 'Le budget du budget.');
  assert.deepEqual(pieces('', 'x'), [{ text: '', found: false }]);
  assert.deepEqual(pieces('x', 'x'), [{ text: 'x', found: true }]);
});
