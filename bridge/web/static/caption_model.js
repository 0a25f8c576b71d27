// What captions are on screen now. No document and no clock in here: the time comes in.
//
// Rules (charte de l'Arcom on live subtitling: 3 lines of 36 signs, who speaks said at each change;
// EN 301 549, 7.1): all speakers share three lines. What is final is never rewritten and stays two
// seconds at least; it makes room line by line, from the top. What is not final may change until it
// is, and shows its newest lines in the room that is left.
export const LINE_CHARS = 36;
export const MAX_LINES = 3;
export const MIN_SHOWN_MS = 2000;
export const BACKLOG = 40; // lines that wait for the screen; older ones are in the log only
const SCROLL_MS = 1200; // 30 signs a second: faster than one person speaks
const HURRY_MS = MIN_SHOWN_MS / MAX_LINES; // when several speak: still two seconds for each line
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

export class CaptionModel {
  #finals = []; // {speaker, text, language, shownAt: ms | null}
  #interims = new Map(); // segment -> {speaker, lines, language, changed}
  #scrolledAt = -Infinity;
  #finished = new Set();

  /**
   * Takes in a segment. @returns true where it is a new final, false otherwise.
   * The same segment may come by two roads (text stream and transcription packet): the first final wins.
   * @param {{segment: string, speaker: string, text: string, final: boolean, language?: string}} said
   */
  put({ segment, speaker, text, final, language = '' }, now) {
    if (this.#finished.has(segment)) return false;
    const lines = wrap(text);
    if (!final) {
      if (lines.length) this.#interims.set(segment, { speaker, lines, language, changed: now });
      else this.#interims.delete(segment);
      return false;
    }
    this.#remember(segment);
    this.#interims.delete(segment);
    this.#finals.push(...lines.map((line) => ({ speaker, text: line, language, shownAt: null })));
    if (this.#finals.length > BACKLOG) this.#finals.splice(0, this.#finals.length - BACKLOG);
    return lines.length > 0;
  }

  /** Takes everything off the screen. */
  clear() {
    this.#finals = [];
    this.#interims.clear();
  }

  #remember(segment) {
    this.#finished.add(segment);
    if (this.#finished.size > REMEMBERED) this.#finished.delete(this.#finished.values().next().value);
  }

  /** What is on screen, a block for each change of speaker: [{speaker, lines: [{text, language, final}]}]. */
  visible(now) {
    this.#settle(now);
    const finals = this.#finals.slice(0, MAX_LINES).map((line) => ({ ...line, final: true }));
    const blocks = [];
    for (const { speaker, text, language, final } of [...finals, ...this.#unfinished(MAX_LINES - finals.length)]) {
      if (blocks.at(-1)?.speaker !== speaker) blocks.push({ speaker, lines: [] });
      blocks.at(-1).lines.push({ text, language, final });
    }
    return blocks;
  }

  /** Lets lines go that have had their time while others wait, and marks those now on screen. */
  #settle(now) {
    for (const [segment, { changed }] of this.#interims) {
      if (now - changed >= STALE_INTERIM_MS) this.#interims.delete(segment);
    }
    this.#show(now);
    while (this.#overfull() && now >= this.#scrollDue()) {
      this.#finals.shift();
      this.#scrolledAt = now;
      this.#show(now);
    }
    if (!this.#overfull() && now >= this.#endsAt()) this.#finals = [];
  }

  #show(now) {
    for (const line of this.#finals.slice(0, MAX_LINES)) line.shownAt ??= now;
  }

  #overfull() {
    if (!this.#finals.length) return false;
    const waiting = [...this.#interims.values()].reduce((sum, { lines }) => sum + lines.length, 0);
    return this.#finals.length + waiting > MAX_LINES;
  }

  #scrollDue() {
    const pace = this.#finals.length > 2 * MAX_LINES ? HURRY_MS : SCROLL_MS;
    return Math.max(this.#finals[0].shownAt + MIN_SHOWN_MS, this.#scrolledAt + pace);
  }

  /** When the finals leave the screen if nothing new comes. */
  #endsAt() {
    if (!this.#finals.length || this.#interims.size) return Infinity;
    const signs = this.#finals.reduce((sum, { text }) => sum + text.length, 0);
    return this.#finals.at(-1).shownAt + Math.min(LONGEST_MS, Math.max(MIN_SHOWN_MS, signs * READ_MS_PER_CHAR));
  }

  /** The newest lines of those who are speaking, in the order they began; the newest speaker has most. */
  #unfinished(room) {
    const speaking = [...this.#interims.values()];
    const heard = [...speaking].sort((a, b) => b.changed - a.changed).slice(0, Math.max(0, room));
    const given = new Map(heard.map((one) => [one, 1]));
    let left = room - heard.length;
    for (const one of heard) {
      const more = Math.min(left, one.lines.length - 1);
      given.set(one, 1 + more);
      left -= more;
    }
    return speaking
      .filter((one) => given.has(one))
      .flatMap((one) => one.lines.slice(-given.get(one)).map((text) => ({ ...one, text, final: false })));
  }

  /** When `visible` will say something else, in the clock given to it; Infinity: never by itself. */
  nextChange() {
    const stale = [...this.#interims.values()].map(({ changed }) => changed + STALE_INTERIM_MS);
    const finals = this.#overfull() ? this.#scrollDue() : this.#endsAt();
    return Math.min(finals, ...stale);
  }
}
