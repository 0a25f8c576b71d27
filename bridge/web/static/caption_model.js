// What captions are on screen now. No document and no clock in here: the time comes in.
//
// Rules (charte de l'Arcom on live subtitling: 3 lines of 36 signs; EN 301 549, 7.1): a speaker has
// one block. What is final is never rewritten and stays two seconds at least; it makes room line by
// line, from the top. What is not final may change until it is, and shows its newest lines.
export const LINE_CHARS = 36;
export const MAX_LINES = 3;
export const MAX_BLOCKS = 3;
export const MIN_SHOWN_MS = 2000;
const SCROLL_MS = 1200; // 30 signs a second: faster than people speak, so a backlog always drains
const READ_MS_PER_CHAR = 83; // 12 signs a second once nothing new comes
const LONGEST_MS = 8000;
const STALE_INTERIM_MS = 10_000; // an unfinished segment whose sender went silent
const REMEMBERED = 500;

/** Splits into lines of at most `width` signs, at spaces where there are any. */
export function wrap(text, width = LINE_CHARS) {
  const lines = [];
  let line = '';
  for (const word of text.trim().split(/\s+/u).flatMap((w) => pieces(w, width))) {
    if (line && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line ? `${line} ${word}` : word;
    }
  }
  return line ? [...lines, line] : lines;
}

function pieces(word, width) {
  const signs = [...word];
  const parts = [];
  while (signs.length) parts.push(signs.splice(0, width).join(''));
  return parts;
}

class Block {
  constructor(speaker, now) {
    this.speaker = speaker;
    this.since = now;
    this.changed = now;
    this.finals = []; // {text, language, shownAt: ms | null}
    this.interim = null; // {segment, lines, language}
    this.scrolledAt = -Infinity;
  }

  /** Lets lines go that have had their time while others wait, and marks those now on screen. */
  settle(now) {
    if (this.interim && now - this.changed >= STALE_INTERIM_MS) this.interim = null;
    this.#show(now);
    while (this.#overfull() && now >= this.#scrollDue()) {
      this.finals.shift();
      this.scrolledAt = now;
      this.#show(now);
    }
  }

  #show(now) {
    for (const line of this.finals.slice(0, MAX_LINES)) line.shownAt ??= now;
  }

  #overfull() {
    if (!this.finals.length) return false;
    return this.finals.length + (this.interim?.lines.length ?? 0) > MAX_LINES;
  }

  #scrollDue() {
    return Math.max(this.finals[0].shownAt + MIN_SHOWN_MS, this.scrolledAt + SCROLL_MS);
  }

  /** When this block leaves the screen if nothing new comes. */
  #endsAt() {
    if (this.interim) return this.changed + STALE_INTERIM_MS;
    const last = this.finals.at(-1)?.shownAt ?? this.changed;
    const signs = this.finals.reduce((sum, { text }) => sum + text.length, 0);
    return last + Math.min(LONGEST_MS, Math.max(MIN_SHOWN_MS, signs * READ_MS_PER_CHAR));
  }

  nextChange() {
    return this.#overfull() ? this.#scrollDue() : this.#endsAt();
  }

  over(now) {
    if (!this.finals.length && !this.interim) return true;
    return !this.#overfull() && now >= this.#endsAt();
  }

  lines() {
    const shown = this.finals.slice(0, MAX_LINES).map((line) => ({ ...line, final: true }));
    const room = MAX_LINES - shown.length;
    const { lines = [], language } = this.interim ?? {};
    const rest = room > 0 ? lines.slice(-room) : [];
    return [...shown, ...rest.map((text) => ({ text, language, final: false }))];
  }
}

export class CaptionModel {
  #blocks = new Map();
  #finished = new Set();

  /**
   * Takes in a segment. @returns true where it is a new final, false otherwise.
   * The same segment may come by two roads (text stream and transcription packet): the first final wins.
   * @param {{segment: string, speaker: string, text: string, final: boolean, language?: string}} said
   */
  put({ segment, speaker, text, final, language = '' }, now) {
    if (this.#finished.has(segment)) return false;
    if (final) this.#remember(segment);
    const lines = wrap(text);
    const block = this.#blocks.get(speaker) ?? new Block(speaker, now);
    if (!lines.length && !this.#blocks.has(speaker)) return false;
    this.#blocks.set(speaker, block);
    block.changed = now;
    if (final) {
      block.finals.push(...lines.map((line) => ({ text: line, language, shownAt: null })));
      if (block.interim?.segment === segment) block.interim = null;
    } else {
      block.interim = lines.length ? { segment, lines, language } : null;
    }
    return final && lines.length > 0;
  }

  #remember(segment) {
    this.#finished.add(segment);
    if (this.#finished.size > REMEMBERED) this.#finished.delete(this.#finished.values().next().value);
  }

  /** The blocks on screen, first speaker first: [{speaker, lines: [{text, language, final}]}]. */
  visible(now) {
    for (const [speaker, block] of this.#blocks) {
      block.settle(now);
      if (block.over(now)) this.#blocks.delete(speaker);
    }
    return [...this.#blocks.values()]
      .sort((a, b) => b.changed - a.changed)
      .slice(0, MAX_BLOCKS)
      .sort((a, b) => a.since - b.since)
      .map((block) => ({ speaker: block.speaker, lines: block.lines() }));
  }

  /** When `visible` will say something else, in the clock given to it; Infinity: never by itself. */
  nextChange() {
    return Math.min(Infinity, ...[...this.#blocks.values()].map((block) => block.nextChange()));
  }
}
