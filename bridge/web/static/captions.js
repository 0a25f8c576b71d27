// Captions on the screen (see caption_model.js for what is shown when) and the log of all that was
// final. The blocks on screen change while people speak, so screen readers are given the log
// instead; whether it is read aloud is the person's choice, because it sounds over the call.
import { byId, make } from './dom.js';
import { CaptionModel } from './caption_model.js';

const SIZES = [100, 125, 150, 200];
const INTERIM_EVERY_MS = 250; // calm: what is not final changes four times a second at most
const LOG_LINES = 500;

function kept(key, otherwise) {
  return localStorage.getItem(`colloque.captions.${key}`) ?? otherwise;
}

function keep(key, value) {
  localStorage.setItem(`colloque.captions.${key}`, value);
}

export class Captions {
  constructor() {
    this.model = new CaptionModel();
    this.names = new Map();
    this.timer = 0;
    this.drawnAt = -Infinity;
    this.screen = byId('captions');
    this.log = byId('caption-log');
    this.screen.replaceChildren();
    this.log.replaceChildren();
    this.shown = kept('shown', 'yes') === 'yes';
    this.size = Number(kept('size', SIZES[0]));
    this.announced = kept('announced', 'no') === 'yes';
    this.#apply();
  }

  static sizes() {
    return SIZES;
  }

  /** Takes in what was heard. @param {string} name of the speaker, as the room knows it */
  heard({ segment, participant, text, final, language }, name) {
    this.names.set(participant.identity, name);
    const said = { segment, speaker: participant.identity, text, final, language };
    const now = performance.now();
    if (this.model.put(said, now)) this.#write(name, text.trim(), language);
    if (final) this.#draw();
    else this.#drawAt(Math.max(now, this.drawnAt + INTERIM_EVERY_MS));
  }

  toggle() {
    this.shown = !this.shown;
    keep('shown', this.shown ? 'yes' : 'no');
    this.#apply();
  }

  setSize(percent) {
    this.size = SIZES.includes(percent) ? percent : SIZES[0];
    keep('size', this.size);
    this.#apply();
  }

  nextSize() {
    this.setSize(SIZES[(SIZES.indexOf(this.size) + 1) % SIZES.length]);
  }

  announce(on) {
    this.announced = on;
    keep('announced', on ? 'yes' : 'no');
    this.#apply();
  }

  close() {
    clearTimeout(this.timer);
    this.screen.replaceChildren();
  }

  #apply() {
    this.screen.hidden = !this.shown;
    this.screen.dataset.size = this.size;
    this.log.dataset.size = this.size;
    this.log.setAttribute('aria-live', this.announced ? 'polite' : 'off');
  }

  #write(name, text, language) {
    const words = make('span', { textContent: text });
    if (language) words.lang = language;
    const follow = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    this.log.append(make('p', {}, make('strong', { textContent: `${name} : ` }), words));
    if (this.log.childElementCount > LOG_LINES) this.log.firstElementChild.remove();
    if (follow) this.log.scrollTop = this.log.scrollHeight;
  }

  #drawAt(time) {
    clearTimeout(this.timer);
    if (time !== Infinity) this.timer = setTimeout(() => this.#draw(), Math.max(0, time - performance.now()));
  }

  #draw() {
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
    const name = make('strong', { className: 'caption-name', textContent: this.names.get(speaker) ?? speaker });
    return make('p', { className: 'caption' }, name, ...rows);
  }
}
