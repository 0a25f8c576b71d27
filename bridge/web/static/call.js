// One call: admission, the media connection, and coming back by itself when that is lost.
import {
  ConnectionError, ConnectionErrorReason, ConnectionState, DisconnectReason, ParticipantKind, Room,
  RoomEvent, Track, isBrowserSupported, setLogLevel,
} from './vendor/livekit-client.js';
import { admission } from './matrix.js';
import { Problem, asProblem, ofDevice } from './problems.js';
import { wanted } from './devices.js';
import { nameOf, userOf } from './identity.js';
import { Membership } from './membership.js';
import { Sites } from './sites.js';
import { askForInterims, listenToCaptions } from './transcription.js';

setLogLevel('error'); // its other levels print addresses, which hold the call's token

/** Ends nobody should be brought back from, and the sentence for each. */
const FINAL = {
  [DisconnectReason.DUPLICATE_IDENTITY]: 'elsewhere',
  [DisconnectReason.PARTICIPANT_REMOVED]: 'removed',
  [DisconnectReason.ROOM_DELETED]: 'callEnded',
  [DisconnectReason.ROOM_CLOSED]: 'callEnded',
};
const REJOIN_AFTER_MS = [500, 1000, 2000, 4000, 8000, 15_000, 30_000];
const NAMES_EVERY_MS = 10_000;

/**
 * Events: `state` (detail: connecting | connected | reconnecting), `people` (someone or some track
 * changed), `joined` and `gone` (detail: name), `speakers`, `caption` (detail: what
 * CaptionModel.put takes), `sound` (the browser holds sound back or lets it play), `problem`
 * (detail: Problem, or null where the last one is over; the call goes on), `ended` (detail: Problem or null; the call is over).
 */
export class Call extends EventTarget {
  /** @param {{account, serviceUrl: string, room: {roomId: string, names: Map<string, string>}}} where */
  constructor({ account, serviceUrl, room }) {
    super();
    this.account = account;
    this.serviceUrl = serviceUrl;
    this.matrixRoom = room;
    this.state = 'connecting';
    this.wants = { microphone: false, camera: false };
    this.namesReadAt = 0;
    this.interims = false;
    this.heard = new Set();
    this.membership = new Membership(account, room.roomId, serviceUrl);
    this.sites = new Sites({ account, serviceUrl, roomId: room.roomId });
    this.media = new Room({
      adaptiveStream: true,
      dynacast: true,
      videoCaptureDefaults: wanted('camera'),
      audioCaptureDefaults: wanted('microphone'),
      publishDefaults: { videoCodec: 'vp8', simulcast: true, red: false, dtx: true },
    });
    this.#listen();
  }

  get local() {
    return this.media.localParticipant;
  }

  /** People in the call, oneself first. Scribes and other agents are not people. */
  people() {
    return [this.local, ...this.#remote().filter((one) => !isAgent(one))];
  }

  /** Asks for captions before they are final, or ceases to. */
  askForInterims(wanted) {
    this.interims = wanted;
    for (const media of this.#connections()) void askForInterims(media, wanted);
  }

  /** Who listens in order to write. */
  scribes() {
    return this.#remote().filter(isAgent);
  }

  /** Identities of those who speak now. */
  speakers() {
    return this.#connections().flatMap((media) => media.activeSpeakers).map(({ identity }) => identity);
  }

  /** Whether the browser holds sound back until the person has done something. */
  get soundHeld() {
    return this.#connections().some((media) => !media.canPlaybackAudio);
  }

  async startSound() {
    await Promise.all(this.#connections().map((media) => media.startAudio()));
  }

  /** One's own media server first, then those of the other organisations. */
  #connections() {
    return [this.media, ...this.sites.rooms()];
  }

  #remote() {
    return this.#connections().flatMap((media) =>
      [...media.remoteParticipants.values()].filter(({ identity }) => !this.sites.isGuest(media, identity)));
  }

  nameOf(participant) {
    return nameOf(participant.identity, participant.name, this.matrixRoom.names);
  }

  /** Enters with the tracks of the lobby. Throws a Problem; the tracks are then still the caller's. */
  async join(tracks) {
    if (!isBrowserSupported()) throw new Problem('oldBrowser');
    await this.#connect();
    for (const track of tracks) {
      this.wants[track.kind === Track.Kind.Video ? 'camera' : 'microphone'] = true;
    }
    void this.sites.follow();
    await Promise.all([this.membership.join(), ...tracks.map((track) => this.#publish(track))]);
    this.#change('people');
  }

  /** Leaves; all devices are off when it returns. */
  async leave() {
    this.left = true;
    await Promise.all([this.membership.leave(), this.sites.close(), this.media.disconnect(true)]);
  }

  /** @param {'microphone'|'camera'} kind @returns whether it is on afterwards */
  async toggle(kind) {
    const on = !this.isOn(kind);
    this.wants[kind] = on;
    try {
      if (kind === 'camera') await this.local.setCameraEnabled(on, wanted(kind));
      else await this.local.setMicrophoneEnabled(on, wanted(kind));
    } catch (error) {
      this.wants[kind] = false;
      this.#tell('problem', ofDevice(error, kind));
    }
    this.#change('people');
    return this.isOn(kind);
  }

  isOn(kind) {
    return kind === 'camera' ? this.local.isCameraEnabled : this.local.isMicrophoneEnabled;
  }

  /** Goes over to another microphone or camera in mid-call. */
  async useDevice(kind, deviceId) {
    try {
      await this.media.switchActiveDevice(kind === 'camera' ? 'videoinput' : 'audioinput', deviceId);
    } catch (error) {
      this.#tell('problem', ofDevice(error, kind));
    }
  }

  async #connect() {
    const { url, jwt } = await admission(this.serviceUrl, this.account, this.matrixRoom.roomId);
    try {
      await this.media.connect(url, jwt, { maxRetries: 1 });
    } catch (error) {
      throw ofConnection(error);
    }
    if (this.left) await this.media.disconnect(true);
  }

  async #publish(track) {
    try {
      await this.local.publishTrack(track);
    } catch (error) {
      this.#tell('problem', asProblem(error));
    }
  }

  #listen() {
    const { media, sites } = this;
    this.#hear(media);
    media.on(RoomEvent.ConnectionStateChanged, (state) => this.#stateIs(state));
    media.on(RoomEvent.Disconnected, (reason) => this.#lost(reason));
    sites.addEventListener('opened', ({ detail }) => this.#greet(detail));
    sites.addEventListener('closed', () => this.#change('people'));
    sites.addEventListener('guests', () => this.#change('people'));
    sites.addEventListener('problem', ({ detail }) => this.#tell('problem', detail));
  }

  /** A media server of another organisation is reached: those who are there already come into sight. */
  #greet(media) {
    if (!this.heard.has(media)) this.#hear(media);
    void askForInterims(media, this.interims); // it was connected before it was listened to
    for (const one of media.remoteParticipants.values()) void this.#knowName(one).then(() => this.#change('people'));
    this.#change('people');
    this.#change('sound');
  }

  /** What happens at a media server, one's own or another's. */
  #hear(media) {
    this.heard.add(media);
    const changed = () => this.#change('people');
    for (const event of [
      RoomEvent.TrackSubscribed, RoomEvent.TrackUnsubscribed, RoomEvent.TrackMuted, RoomEvent.TrackUnmuted,
      RoomEvent.TrackPublished, RoomEvent.TrackUnpublished, RoomEvent.LocalTrackPublished,
      RoomEvent.LocalTrackUnpublished, RoomEvent.ParticipantNameChanged, RoomEvent.Connected,
      RoomEvent.ParticipantAttributesChanged,
    ]) {
      media.on(event, changed);
    }
    media.on(RoomEvent.ParticipantConnected, (one) => this.#arrival(media, one));
    media.on(RoomEvent.ParticipantDisconnected, (one) => this.#departure(media, one));
    media.on(RoomEvent.ActiveSpeakersChanged, () => this.#change('speakers'));
    media.on(RoomEvent.AudioPlaybackStatusChanged, () => this.#change('sound'));
    for (const event of [RoomEvent.Connected, RoomEvent.Reconnected]) {
      media.on(event, () => void askForInterims(media, this.interims));
    }
    listenToCaptions(media, (said) => this.#tell('caption', said));
  }

  #arrival(media, participant) {
    this.#change('people');
    if (isAgent(participant) || this.sites.isGuest(media, participant.identity)) return;
    void this.#knowName(participant).then(() => {
      this.#tell('joined', this.nameOf(participant));
      this.#change('people');
    });
  }

  #departure(media, participant) {
    this.#change('people');
    const guest = this.sites.isGuest(media, participant.identity);
    if (!isAgent(participant) && !guest && !this.left) this.#tell('gone', this.nameOf(participant));
  }

  /** Reads the room's names again where somebody came who was no member when they were read. */
  async #knowName({ identity }) {
    const { names, roomId } = this.matrixRoom;
    const user = userOf(identity, names);
    if (!user || names.has(user) || Date.now() - this.namesReadAt < NAMES_EVERY_MS) return;
    this.namesReadAt = Date.now();
    try {
      this.matrixRoom.names = await this.account.members(roomId);
    } catch (error) {
      console.warn('names not read', error.key); // the Matrix id is shown instead
    }
  }

  #stateIs(state) {
    if (state === ConnectionState.Connected) this.#setState('connected');
    else if (state !== ConnectionState.Disconnected) {
      this.#setState(this.state === 'connecting' ? 'connecting' : 'reconnecting');
    }
  }

  #setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.#tell('state', state);
  }

  #lost(reason) {
    if (this.left) this.#tell('ended', null);
    else if (reason in FINAL) this.#end(new Problem(FINAL[reason]));
    else if (this.state !== 'connecting' && !this.rejoining) void this.#rejoin();
  }

  #end(problem) {
    this.left = true;
    void this.membership.leave(problem.key === 'elsewhere'); // never throws
    void this.sites.close();
    this.#tell('ended', problem);
  }

  /** A new admission and a new connection, again and again for about a minute. */
  async #rejoin() {
    this.rejoining = true;
    this.#setState('reconnecting');
    for (const pause of REJOIN_AFTER_MS) {
      await new Promise((resume) => setTimeout(resume, pause));
      if (this.left) break;
      try {
        await this.#connect();
        await this.#restoreTracks();
        this.rejoining = false;
        return;
      } catch (problem) {
        if (isHopeless(problem)) {
          this.#end(problem);
          return;
        }
      }
    }
    if (!this.left) this.#end(new Problem('lost'));
  }

  async #restoreTracks() {
    const { microphone, camera } = this.wants;
    try {
      if (microphone) await this.local.setMicrophoneEnabled(true, wanted('microphone'));
      if (camera) await this.local.setCameraEnabled(true, wanted('camera'));
    } catch (error) {
      this.#tell('problem', ofDevice(error, microphone ? 'microphone' : 'camera'));
    }
    this.#change('people');
  }

  #change(type) {
    this.dispatchEvent(new Event(type));
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function isAgent(participant) {
  return participant.kind === ParticipantKind.AGENT;
}

/** No point in asking again: one is no longer a member, or no longer signed in. */
function isHopeless(problem) {
  return ['notMember', 'sessionExpired', 'identityRefused', 'putOut', 'roomReplaced'].includes(problem.key);
}

function ofConnection(error) {
  if (error instanceof Problem) return error;
  if (!(error instanceof ConnectionError)) return asProblem(error);
  const refused = error.reason === ConnectionErrorReason.NotAllowed;
  return new Problem(refused ? 'mediaRefused' : 'mediaAway', {}, { cause: error });
}
