// The tiles of a call: one for each person, one more for each shared screen.
import { Track } from './vendor/livekit-client.js';
import { icon, make } from './dom.js';
import { say } from './i18n.js';
import { initials } from './identity.js';

class Tile {
  constructor(participant, source) {
    this.participant = participant;
    this.source = source;
    this.audio = null;
    this.video = null;
    this.avatar = make('span', { className: 'avatar', ariaHidden: 'true' });
    this.name = make('span', { className: 'tile-name' });
    this.muted = make('span', { className: 'tile-muted' }, icon('mic-off'), make('span', { className: 'visually-hidden' }));
    this.speaking = make('span', { className: 'tile-speaking', ariaHidden: 'true' }, make('i'), make('i'), make('i'));
    this.element = make(
      'li',
      { className: `tile tile-${source}` },
      this.avatar,
      make('p', { className: 'tile-label' }, this.speaking, this.name, this.muted),
    );
    this.element.dataset.identity = participant.identity;
  }

  update(name, you) {
    const { participant } = this;
    const shown = this.source === 'screen_share' ? say('call.screen', { name }) : you ? say('call.you', { name }) : name;
    this.name.textContent = shown;
    this.avatar.textContent = initials(name);
    this.muted.lastChild.textContent = `, ${say('call.muted')}`;
    this.muted.hidden = this.source !== 'camera' || participant.isMicrophoneEnabled;
    this.#showVideo(you);
    if (!you) this.#playAudio();
  }

  /** Puts the camera, or the screen, into the tile; adaptive streams follow this element's size. */
  #showVideo(you) {
    const publication = this.participant.getTrackPublication(this.source);
    const track = publication && !publication.isMuted ? publication.videoTrack : undefined;
    if (track === this.video) return;
    this.video?.detach().forEach((element) => element.remove());
    this.video = track ?? null;
    this.element.classList.toggle('has-video', Boolean(track));
    if (!track) return;
    const element = track.attach();
    element.classList.toggle('mirrored', you && this.source === 'camera');
    element.setAttribute('aria-label', this.name.textContent);
    this.element.prepend(element);
  }

  #playAudio() {
    const source = this.source === 'camera' ? Track.Source.Microphone : Track.Source.ScreenShareAudio;
    const track = this.participant.getTrackPublication(source)?.audioTrack ?? null;
    if (track === this.audio) return;
    this.audio?.detach().forEach((element) => element.remove());
    this.audio = track;
    if (track) this.element.append(track.attach());
  }

  remove() {
    for (const track of [this.video, this.audio]) track?.detach().forEach((element) => element.remove());
    this.element.remove();
  }
}

export class Tiles {
  /** @param {HTMLElement} list the <ul> */
  constructor(list) {
    this.list = list;
    this.tiles = new Map();
    list.replaceChildren();
    this.sized = new ResizeObserver(() => this.#layOut());
    this.sized.observe(list);
  }

  /** Makes the list agree with the people of a call. */
  update(call) {
    const wanted = new Map();
    for (const participant of call.people()) {
      wanted.set(`${participant.identity} camera`, [participant, Track.Source.Camera]);
      if (participant.getTrackPublication(Track.Source.ScreenShare)?.videoTrack) {
        wanted.set(`${participant.identity} screen`, [participant, Track.Source.ScreenShare]);
      }
    }
    for (const [key, tile] of this.tiles) {
      if (wanted.get(key)?.[0] !== tile.participant) this.#remove(key, tile);
    }
    for (const [key, [participant, source]] of wanted) {
      if (!this.tiles.has(key)) this.#add(key, new Tile(participant, source));
      this.tiles.get(key).update(call.nameOf(participant), participant === call.local);
    }
    this.#layOut();
  }

  /** Marks who speaks now. @param {Set<string>} identities */
  speaking(identities) {
    for (const { element, participant, source } of this.tiles.values()) {
      element.classList.toggle('speaking', source === 'camera' && identities.has(participant.identity));
    }
  }

  clear() {
    this.sized.disconnect();
    for (const [key, tile] of this.tiles) this.#remove(key, tile);
  }

  #add(key, tile) {
    this.tiles.set(key, tile);
    this.list.append(tile.element);
  }

  #remove(key, tile) {
    tile.remove();
    this.tiles.delete(key);
  }

  #layOut() {
    const { clientWidth, clientHeight } = this.list;
    this.list.style.setProperty('--tile', `${tileWidth(this.tiles.size, clientWidth, clientHeight)}px`);
  }
}

const GAP = 12;
const SHAPE = 16 / 9;

/** The greatest width at which `count` tiles of 16:9 fit a stage, all in pixels. */
function tileWidth(count, width, height) {
  let best = 0;
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const byWidth = (width - GAP * (columns - 1)) / columns;
    const byHeight = ((height - GAP * (rows - 1)) / rows) * SHAPE;
    best = Math.max(best, Math.min(byWidth, byHeight));
  }
  return Math.floor(best);
}
