// Finding inside the meeting on the page: marks, the next and the previous one, and how many there are.
import { byId, make } from './dom.js';
import { say } from './i18n.js';
import { pieces } from './find.js';

/** Marks at most; a single letter stands everywhere in a long meeting. */
const MOST = 2000;

export class Finding {
  /** @param {Iterable<HTMLElement>} lines each holds one utterance as text */
  constructor(lines) {
    this.#lines = [...lines].map((line) => ({ line, text: line.textContent }));
    byId('find-text').value = '';
    byId('find-text').oninput = () => this.#look();
    byId('find-text').onkeydown = (event) => this.#key(event);
    byId('find-previous').onclick = () => this.#go(-1);
    byId('find').onsubmit = (event) => {
      event.preventDefault();
      this.#go(1);
    };
    this.#say();
  }

  #lines;
  #marks = [];
  #at = -1;

  #key(event) {
    if (event.key === 'Escape' && byId('find-text').value) {
      event.preventDefault();
      byId('find-text').value = '';
      this.#look();
    } else if (event.key === 'Enter' && event.shiftKey) {
      event.preventDefault();
      this.#go(-1);
    }
  }

  #look() {
    const query = byId('find-text').value;
    let left = MOST;
    for (const { line, text } of this.#lines) {
      const cut = left > 0 ? pieces(text, query) : [{ text, found: false }];
      left -= cut.filter(({ found }) => found).length;
      line.replaceChildren(...cut.map((piece) => (piece.found ? make('mark', { textContent: piece.text }) : piece.text)));
    }
    this.#marks = [...byId('turns').querySelectorAll('mark')];
    this.#at = -1;
    if (this.#marks.length) this.#go(1);
    else this.#say();
  }

  /** The next mark, or the one before; behind the last comes the first. */
  #go(step) {
    const { length } = this.#marks;
    if (!length) return;
    this.#marks[this.#at]?.removeAttribute('aria-current');
    this.#at = (this.#at + step + length) % length;
    const mark = this.#marks[this.#at];
    mark.setAttribute('aria-current', 'true');
    mark.scrollIntoView({ block: 'center' });
    this.#say(mark);
  }

  /** Says which one it is, with the sentence around it: who cannot see the mark hears it. */
  #say(mark) {
    const state = byId('find-state');
    const { length } = this.#marks;
    if (mark) {
      state.textContent = say('archive.place', { at: this.#at + 1, count: length, text: mark.closest('.said').textContent });
    } else {
      state.textContent = byId('find-text').value.trim() ? say('archive.notHere') : '';
    }
    byId('find-next').disabled = length === 0;
    byId('find-previous').disabled = length === 0;
  }
}
