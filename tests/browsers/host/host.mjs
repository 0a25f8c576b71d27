// A client that shows Element Call: the other end of the widget API, as far as calls need it.
//
// There is no Olm in here: what Element Call asks to send encrypted (its media keys) goes in clear
// and is handed to the other widget as if it had been decrypted. Media are encrypted all the same.
import { Matrix, Refused } from './matrix.mjs';

// The published bundle is a function that makes the module.
const { ClientWidgetApi, OpenIDRequestState, Widget, WidgetDriver } = mxwidgets();
const STICKY = 'org.matrix.msc4354.sticky_duration_ms';
const DELAY = 'org.matrix.msc4140.delay';
const ACKNOWLEDGED = [
  'io.element.join', 'im.vector.hangup', 'io.element.close', 'io.element.device_mute',
  'set_always_on_screen',
];

class Driver extends WidgetDriver {
  constructor(matrix, room) {
    super();
    this.matrix = matrix;
    this.room = room;
    this.sticky = [];
  }

  async validateCapabilities(requested) {
    return requested;
  }

  async #send(type, content, key, room, query) {
    return this.matrix.send(room ?? this.room, type, content, key, query);
  }

  async sendEvent(type, content, key, room) {
    const { event_id: eventId } = await this.#send(type, content, key, room);
    return { roomId: this.room, eventId };
  }

  async sendStickyEvent(duration, type, content, room) {
    const query = { [STICKY]: duration };
    const { event_id: eventId } = await this.#send(type, content, null, room, query);
    return { roomId: this.room, eventId };
  }

  async sendDelayedEvent(delay, type, content, key, room) {
    const { delay_id: delayId } = await this.#send(type, content, key, room, { [DELAY]: delay });
    return { roomId: this.room, delayId };
  }

  async sendDelayedStickyEvent(delay, duration, type, content, room) {
    const query = { [DELAY]: delay, [STICKY]: duration };
    const { delay_id: delayId } = await this.#send(type, content, null, room, query);
    return { roomId: this.room, delayId };
  }

  async cancelScheduledDelayedEvent(id) {
    await this.matrix.delayed(id, 'cancel');
  }

  async restartScheduledDelayedEvent(id) {
    await this.matrix.delayed(id, 'restart');
  }

  async sendScheduledDelayedEvent(id) {
    await this.matrix.delayed(id, 'send');
  }

  async sendToDevice(type, _encrypted, messages) {
    await this.matrix.toDevice(type, messages);
  }

  async readRoomState(room, type, key) {
    const state = await this.matrix.state(room);
    return state
      .filter((event) => event.type === type && (key === undefined || event.state_key === key))
      .map((event) => ({ ...event, room_id: room }));
  }

  async readStickyEvents() {
    return this.sticky;
  }

  async readRoomTimeline() {
    return [];
  }

  async readEventRelations() {
    return { chunk: [] };
  }

  askOpenID(observer) {
    this.matrix.openid().then(
      (token) => observer.update({ state: OpenIDRequestState.Allowed, token }),
      () => observer.update({ state: OpenIDRequestState.Blocked }),
    );
  }

  async getRtcTransports() {
    return this.matrix.transports();
  }

  getKnownRooms() {
    return [this.room];
  }

  // Element Call tries again, or not, by what the homeserver said.
  processError(error) {
    if (!(error instanceof Refused)) return undefined;
    const { status, body } = error;
    return {
      matrix_api_error: { http_status: status, http_headers: {}, url: '', response: body },
    };
  }
}

// New events of the room in one /sync; sticky ones stand in a section of their own or, where they
// would be in both, in the timeline alone (MSC4354).
function eventsOf(answer, room) {
  const joined = answer.rooms?.join?.[room] ?? {};
  return [...(joined.msc4354_sticky?.events ?? []), ...(joined.timeline?.events ?? [])]
    .map((event) => ({ ...event, room_id: room }));
}

// What one /sync brought, handed to the widget. Before it has its capabilities it is told nothing:
// then it reads state and sticky events, so these are kept.
async function feed(api, driver, room, answer) {
  for (const message of answer.to_device?.events ?? []) await api.feedToDevice(message, true);
  for (const event of eventsOf(answer, room)) {
    if (event.msc4354_sticky) driver.sticky.push(event);
    if (event.state_key !== undefined) await api.feedStateUpdate(event);
    await api.feedEvent(event);
  }
}

// For ever: a homeserver that is away is asked again.
async function follow(api, driver, room, since) {
  for (;;) {
    try {
      const answer = await driver.matrix.sync(room, since);
      since = answer.next_batch;
      await feed(api, driver, room, answer);
    } catch (error) {
      console.log(`host: ${error}`);
      await new Promise((done) => setTimeout(done, 1000));
    }
  }
}

function widgetUrl({ mode, homeserver, user, device, room, intent }) {
  const query = new URLSearchParams({ widgetId: 'call', parentUrl: location.href.split('#')[0] });
  const fragment = new URLSearchParams({
    userId: user, deviceId: device, roomId: room, baseUrl: homeserver, intent, lang: 'en',
  });
  return `${location.origin}/${mode}/index.html?${query}#?${fragment}`;
}

// Called by the test: who shows which room's call, see element_call.py.
window.host = async (facts) => {
  const matrix = new Matrix(facts);
  const driver = new Driver(matrix, facts.room);
  const first = await matrix.sync(facts.room);
  driver.sticky = eventsOf(first, facts.room).filter((event) => event.msc4354_sticky);
  const url = widgetUrl(facts);
  const frame = document.getElementById('widget');
  const widget = new Widget({
    id: 'call', creatorUserId: facts.user, type: 'm.call', url, waitForIframeLoad: false,
  });
  // It listens before the frame loads: the first message is Element Call's.
  const api = new ClientWidgetApi(widget, frame, driver);
  api.setViewedRoomId(facts.room);
  window.shut = false;
  for (const action of ACKNOWLEDGED) {
    api.on(`action:${action}`, (event) => {
      event.preventDefault();
      api.transport.reply(event.detail, {});
      if (action === 'io.element.close') window.shut = true;
    });
  }
  frame.src = url;
  follow(api, driver, facts.room, first.next_batch);
};
