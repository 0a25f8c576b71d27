// Before the call: the room, what it wants written down, microphone and camera with a preview.
import { byId } from './dom.js';
import { say } from './i18n.js';
import { Problem, asProblem } from './problems.js';
import * as devices from './devices.js';
import { isActive, STATUS } from './rooms.js';
import { notice, once, show } from './views.js';

const OPENING_MS = 3000;
const ENDED_MS = 15_000;
const WISH = 'eu.colloque.conference';

/**
 * What the lobby and the call need to know of a room. Throws a Problem where one cannot call there.
 * @param {string} site server name of the bridge, the state key of what it says of the call
 */
export async function readRoom(account, roomId, site) {
  const names = await account.members(roomId);
  const [name, alias, encryption, wish, status] = await Promise.all([
    account.state(roomId, 'm.room.name'),
    account.state(roomId, 'm.room.canonical_alias'),
    account.state(roomId, 'm.room.encryption'),
    account.state(roomId, WISH),
    account.state(roomId, STATUS, site),
  ]);
  if (encryption?.algorithm) throw new Problem('encrypted');
  const wanted = isActive(status) ? status : (wish ?? {});
  const others = [...names].filter(([id]) => id !== account.userId).map(([, other]) => other);
  return {
    roomId,
    names,
    name: name?.name || alias?.alias || others.slice(0, 3).join(', ') || say('rooms.unnamed'),
    live: isActive(status),
    captions: wanted.captions === true,
    transcript: wanted.transcript === true,
  };
}

const ASK_AGAIN_MS = 4000;

export class Lobby {
  /** @param {(choice: {tracks: object[]}) => Promise<void>} join throws a Problem where joining failed */
  constructor(room, join) {
    this.room = room;
    this.join = join;
    this.tracks = { microphone: null, camera: null };
    this.stopLevel = () => {};
    this.closed = false;
  }

  async open() {
    this.#describe();
    for (const kind of ['microphone', 'camera']) this.#wire(kind);
    byId('lobby-form').onsubmit = (event) => {
      event.preventDefault();
      void once(byId('join'), () => this.#submit());
    };
    byId('devices-retry').onclick = () => once(byId('devices-retry'), () => this.#openWanted());
    show('lobby');
    this.opening = this.#openWanted();
    await this.opening;
  }

  /** Turns off what the preview uses. Tracks handed to the call are no longer the lobby's. */
  close() {
    this.closed = true;
    for (const kind of ['microphone', 'camera']) this.#drop(kind);
  }

  #describe() {
    const { name, transcript, captions, live } = this.room;
    byId('lobby-title').textContent = say('lobby.title', { room: name });
    byId('lobby-now').textContent = live ? say('lobby.live') : '';
    const record = transcript ? 'lobby.transcript' : captions ? 'lobby.captions' : '';
    byId('lobby-record').hidden = !record;
    byId('lobby-record').textContent = record && say(record);
    notice('join-problem', null);
    byId('join').textContent = say('lobby.join');
  }

  #wire(kind) {
    notice(`${kind}-problem`, null);
    byId(`use-${kind}`).onchange = () => this.#toggle(kind);
    byId(kind).onchange = () => {
      devices.choose(kind, byId(kind).value);
      this.#drop(kind);
      return this.#toggle(kind);
    };
  }

  async #openWanted() {
    await this.#toggle('microphone');
    await this.#toggle('camera');
  }

  async #toggle(kind) {
    notice(`${kind}-problem`, null);
    if (byId(`use-${kind}`).checked) await this.#take(kind);
    else this.#drop(kind);
    await devices.fill(byId(kind), kind, this.tracks[kind]?.mediaStreamTrack.getSettings().deviceId);
    const refused = ['microphone', 'camera'].some((each) => byId(`use-${each}`).checked && !this.tracks[each]);
    byId('devices-retry').hidden = !refused;
  }

  async #take(kind) {
    if (this.tracks[kind]) return;
    try {
      const track = await devices.open(kind);
      if (this.closed || this.tracks[kind] || !byId(`use-${kind}`).checked) {
        track.stop();
        return;
      }
      this.tracks[kind] = track;
      this.#present(kind, track);
    } catch (error) {
      if (!this.closed) notice(`${kind}-problem`, asProblem(error));
    }
  }

  #present(kind, track) {
    if (kind === 'camera') {
      track.attach(byId('preview'));
      byId('preview-off').hidden = true;
    } else {
      this.stopLevel = devices.watchLevel(track, (level) => {
        byId('level').value = level;
      });
    }
  }

  #release(kind) {
    const track = this.tracks[kind];
    this.tracks[kind] = null;
    if (kind === 'camera') {
      track?.detach(byId('preview'));
      byId('preview-off').hidden = false;
    } else {
      this.stopLevel();
      this.stopLevel = () => {};
      byId('level').value = 0;
    }
    return track;
  }

  #drop(kind) {
    this.#release(kind)?.stop();
  }

  /**
   * Where newcomers wait for a moderator, asks again until one lets them in. Just after the end of a
   * call nobody is let in for some seconds, so that no client starts it again by itself: a person may.
   */
  async #joinOnceAdmitted() {
    const endedUntil = Date.now() + ENDED_MS;
    for (;;) {
      try {
        await this.join({ tracks: Object.values(this.tracks).filter(Boolean) });
        return;
      } catch (error) {
        const ended = error?.key === 'callEnded' && Date.now() < endedUntil;
        if ((error?.key !== 'waiting' && !ended) || this.closed) throw error;
        if (!ended) notice('join-problem', error);
        byId('join').textContent = say(ended ? 'lobby.joining' : 'lobby.waiting');
      }
      await new Promise((resume) => setTimeout(resume, ASK_AGAIN_MS));
      if (this.closed) return;
    }
  }

  async #submit() {
    notice('join-problem', null);
    byId('join').textContent = say('lobby.joining');
    // A device that is about to open comes along; a question nobody answers must not keep one out.
    await Promise.race([this.opening, new Promise((resume) => setTimeout(resume, OPENING_MS))]);
    try {
      await this.#joinOnceAdmitted();
      for (const kind of ['microphone', 'camera']) this.#release(kind);
    } catch (error) {
      notice('join-problem', asProblem(error));
    } finally {
      byId('join').textContent = say('lobby.join');
    }
  }
}
