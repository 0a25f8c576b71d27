// Captions on the screen (see caption_model.js for what is shown when) and the log of all that was
// final. The blocks on screen change while people speak, so screen readers are given the log
// instead; whether it is read aloud is the person's choice, because it sounds over the call.
import { byId, make } from './dom.js';
import { CaptionModel } from './caption_model.js';
import { keep, kept } from './kept.js';

/** What may be chosen (EN 301 549, 7.1.4). The first is what one has who chose nothing. */
export const CHOICES = {
  size: ['100', '125', '150', '200'],
  colour: ['white', 'yellow', 'cyan', 'green'],
  band: ['translucent', 'opaque'],
  position: ['bottom', 'top'],
};
const DRAW_EVERY_MS = 250; // calm: what is not final changes four times a second at most
const LOG_LINES = 500;

export class Captions {
  constructor() {
    this.model = new CaptionModel();
    this.names = new Map();
    this.timer = 0;
    this.drawnAt = -Infinity;
    this.waiting = [];
    this.paused = false;
    this.screen = byId('captions');
    this.log = byId('caption-log');
    this.screen.replaceChildren();
    this.log.replaceChildren();
    this.shown = kept('colloque.captions.shown', 'yes') === 'yes';
    this.announced = kept('colloque.captions.announced', 'no') === 'yes';
    this.choice = {};
    for (const [what, choices] of Object.entries(CHOICES)) {
      const chosen = kept(`colloque.captions.${what}`, choices[0]);
      this.choice[what] = choices.includes(chosen) ? chosen : choices[0];
    }
    this.#apply();
  }

  /**
   * Takes in what was heard. @param {string} name of the speaker, as the room knows it
   * @param {string} [account] the Matrix id behind the name, for the log
   */
  heard({ segment, participant, text, final, language }, name, account = '') {
    this.names.set(participant.identity, name);
    const said = { segment, speaker: participant.identity, text, final, language };
    const now = performance.now();
    if (this.model.put(said, now)) this.#write(this.#line(name, account, text.trim(), language));
    this.#drawAt(final ? now : Math.max(now, this.drawnAt + DRAW_EVERY_MS));
  }

  /** A line in the log that nobody said. */
  remark(sentence) {
    this.#write(make('p', { className: 'log-remark', textContent: sentence }));
  }

  toggle() {
    this.shown = !this.shown;
    keep('colloque.captions.shown', this.shown ? 'yes' : 'no');
    this.#apply();
  }

  /** @param {'size' | 'colour' | 'band' | 'position'} what */
  choose(what, value) {
    this.choice[what] = CHOICES[what].includes(value) ? value : CHOICES[what][0];
    keep(`colloque.captions.${what}`, this.choice[what]);
    this.#apply();
  }

  get size() {
    return Number(this.choice.size);
  }

  nextSize() {
    const sizes = CHOICES.size;
    this.choose('size', sizes[(sizes.indexOf(this.choice.size) + 1) % sizes.length]);
  }

  announce(on) {
    this.announced = on;
    keep('colloque.captions.announced', on ? 'yes' : 'no');
    this.#apply();
  }

  /** Stops everything where it is, for who reads; what is said meanwhile waits for the log. */
  pause(on) {
    this.paused = on;
    if (on) {
      clearTimeout(this.timer);
      return;
    }
    const missed = this.waiting;
    this.waiting = [];
    // Not read aloud at one go: it would sound over the call for minutes.
    this.log.setAttribute('aria-live', 'off');
    for (const line of missed) this.#write(line);
    requestAnimationFrame(() => this.#apply());
    this.log.scrollTop = this.log.scrollHeight;
    this.#draw();
  }

  /** Nothing is said any more: the screen is empty, the log stays. */
  clear() {
    this.model.clear();
    this.#draw();
  }

  close() {
    clearTimeout(this.timer);
    this.screen.replaceChildren();
  }

  #apply() {
    this.screen.hidden = !this.shown;
    for (const [what, chosen] of Object.entries(this.choice)) {
      this.screen.dataset[what] = chosen;
      this.log.dataset[what] = chosen;
    }
    this.log.setAttribute('aria-live', this.announced ? 'polite' : 'off');
  }

  #line(name, account, text, language) {
    const words = make('span', { textContent: text });
    if (language) words.lang = language;
    const who = [make('strong', { textContent: name })];
    if (account && account !== name) who.push(' ', make('span', { className: 'account', textContent: account }));
    return make('p', {}, ...who, ' : ', words);
  }

  #write(line) {
    if (this.paused) {
      this.waiting.push(line);
      if (this.waiting.length > LOG_LINES) this.waiting.shift();
      return;
    }
    const follow = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    this.log.append(line);
    if (this.log.childElementCount > LOG_LINES) this.log.firstElementChild.remove();
    if (follow) this.log.scrollTop = this.log.scrollHeight;
  }

  #drawAt(time) {
    clearTimeout(this.timer);
    if (time === Infinity || this.paused) return;
    this.timer = setTimeout(() => this.#draw(), Math.max(0, time - performance.now()));
  }

  #draw() {
    if (this.paused) return;
    const now = performance.now();
    this.drawnAt = now;
    this.screen.replaceChildren(...this.model.visible(now).map((block) => this.#block(block)));
    this.#drawAt(this.model.nextChange());
  }

  #block({ speaker, lines }) {
    const rows = lines.map(({ text, language, final }) => {
      const row = make('span', { className: final ? 'line' : 'line line-interim', textContent: text });
      if (language) row.lang = language;
      return row;
    });
    const name = make('strong', { className: 'caption-name', textContent: `– ${this.names.get(speaker) ?? speaker}` });
    return make('p', { className: 'caption' }, name, ...rows);
  }
}
