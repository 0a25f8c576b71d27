// The view of a running call: tiles, captions, toolbar, and what is said of its state.
import { announce, byId, icon } from './dom.js';
import { say } from './i18n.js';
import { Tiles } from './tiles.js';
import { Captions } from './captions.js';
import { listenToKeys } from './shortcuts.js';
import { openSettings } from './settings.js';
import { hearsAll } from './transcription.js';
import { notice, once, show } from './views.js';

export class Conference {
  /** @param {import('./call.js').Call} call @param {(problem | null) => void} over after the end */
  constructor(call, over) {
    this.call = call;
    this.over = over;
    this.tiles = new Tiles(byId('tiles'));
    this.captions = new Captions();
    call.interims = this.captions.shown;
    this.#follow();
    this.#wireToolbar();
    this.stopKeys = listenToKeys({
      m: () => byId('tool-microphone').click(),
      v: () => byId('tool-camera').click(),
      c: () => byId('tool-captions').click(),
      l: () => byId('tool-leave').click(),
    });
  }

  open() {
    byId('call-title').textContent = this.call.matrixRoom.name;
    this.#showLog(false);
    this.refresh();
    show('call');
  }

  /** Says everything again: after a change, or in another language. */
  refresh() {
    notice('call-problem', null);
    this.#people();
    this.#state();
    this.#toolbar();
    this.#sound();
  }

  /** Leaves the call, whatever its state. */
  async leave() {
    await this.call.leave();
  }

  /** Ends a view whose call never began. */
  discard() {
    this.stopKeys();
    this.captions.close();
    this.tiles.clear();
  }

  #follow() {
    const { call } = this;
    const on = (type, react) => call.addEventListener(type, ({ detail }) => react(detail));
    on('people', () => {
      this.#people();
      this.#toolbar();
    });
    on('speakers', () => this.#speakers());
    on('state', () => this.#state());
    on('sound', () => this.#sound());
    on('joined', (name) => announce(say('call.joined', { name })));
    on('gone', (name) => announce(say('call.gone', { name })));
    on('caption', (said) => this.captions.heard(said, call.nameOf(said.participant)));
    on('problem', (problem) => notice('call-problem', problem));
    on('ended', (problem) => this.#end(problem));
  }

  #end(problem) {
    this.discard();
    byId('settings').close();
    this.over(problem);
  }

  #people() {
    const { call } = this;
    this.tiles.update(call);
    const count = call.people().length;
    byId('people').textContent = count === 1 ? say('call.countOne') : say('call.count', { count });
    const writing = call.scribes().length > 0;
    if (writing && byId('scribe-state').hidden) announce(say('call.scribe'));
    byId('scribe-state').hidden = !writing;
    const hears = call.scribes().every(hearsAll);
    byId('scribe-text').textContent = say(hears ? 'call.scribe' : 'call.scribeBegins');
    this.#captionHint(writing);
    this.#alone();
    this.#speakers();
  }

  #alone() {
    byId('alone').hidden = this.call.state !== 'connected' || this.call.people().length > 1;
  }

  #captionHint(writing) {
    byId('caption-log').dataset.empty = say(writing ? 'captions.waiting' : 'captions.none');
  }

  #speakers() {
    this.tiles.speaking(new Set(this.call.speakers()));
  }

  #state() {
    const { state } = this.call;
    const sentence = say(`state.${state}`);
    byId('call-state').textContent = sentence;
    byId('view-call').dataset.state = state;
    this.#alone();
    if (state === 'reconnecting' || this.wasLost) announce(sentence);
    this.wasLost = state === 'reconnecting';
  }

  #sound() {
    byId('tool-sound').hidden = !this.call.soundHeld;
  }

  #wireToolbar() {
    const press = (id, action) => {
      byId(id).onclick = () => once(byId(id), action);
    };
    press('tool-microphone', () => this.#toggle('microphone', 'said.unmuted', 'said.muted'));
    press('tool-camera', () => this.#toggle('camera', 'said.cameraOn', 'said.cameraOff'));
    press('tool-captions', () => this.#toggleCaptions());
    press('tool-size', () => this.#nextSize());
    press('tool-log', () => {
      this.#showLog(byId('log-panel').classList.contains('is-closed'));
      this.#toolbar();
    });
    press('tool-settings', () => openSettings(this.call, this.captions, () => this.#toolbar()));
    press('tool-sound', () => this.call.startSound());
    press('tool-leave', () => this.leave());
  }

  async #toggle(kind, onSaid, offSaid) {
    notice('call-problem', null);
    announce(say((await this.call.toggle(kind)) ? onSaid : offSaid));
    this.#toolbar();
  }

  #toggleCaptions() {
    this.captions.toggle();
    this.call.askForInterims(this.captions.shown);
    announce(say(this.captions.shown ? 'said.captionsOn' : 'said.captionsOff'));
    this.#toolbar();
  }

  /** Closed, the log is out of sight and of the tab order, but screen readers can still read it. */
  #showLog(open) {
    byId('log-panel').classList.toggle('is-closed', !open);
    byId('caption-log').tabIndex = open ? 0 : -1;
  }

  #nextSize() {
    this.captions.nextSize();
    announce(say('said.size', { size: this.captions.size }));
    this.#toolbar();
  }

  #toolbar() {
    const mic = this.call.isOn('microphone');
    const camera = this.call.isOn('camera');
    label('tool-microphone', mic ? 'mic' : 'mic-off', say(mic ? 'call.mute' : 'call.unmute'), mic);
    label('tool-camera', camera ? 'camera' : 'camera-off', say(camera ? 'call.cameraOff' : 'call.cameraOn'), camera);
    label('tool-captions', 'captions', say('call.captions'), this.captions.shown);
    byId('tool-captions').setAttribute('aria-pressed', String(this.captions.shown));
    label('tool-size', 'size', say('call.size'));
    byId('tool-size').setAttribute('aria-label', say('call.sizeLabel', { size: this.captions.size }));
    const history = !byId('log-panel').classList.contains('is-closed');
    label('tool-log', 'log', say('call.log'), history);
    byId('tool-log').setAttribute('aria-pressed', String(history));
    label('tool-settings', 'settings', say('call.settings'));
    label('tool-sound', 'sound', say('call.sound'));
    label('tool-leave', 'leave', say('call.leave'));
  }
}

/** Icon and words of a button; `on` (true or false) is for the eye, the words say it all. */
function label(id, symbol, words, on) {
  const button = byId(id);
  if (on !== undefined) button.classList.toggle('is-off', !on);
  if (button.dataset.symbol === symbol && button.textContent === words) return;
  button.dataset.symbol = symbol;
  const text = document.createElement('span');
  text.textContent = words;
  button.replaceChildren(icon(symbol), text);
}
