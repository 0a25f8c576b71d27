// The little of the client-server API that a widget host needs, with plain fetch.

const part = encodeURIComponent;
const DELAYED = '/unstable/org.matrix.msc4140/delayed_events';

export class Refused extends Error {
  constructor(status, body) {
    super(`${status} ${body.errcode ?? ''}: ${body.error ?? ''}`);
    this.status = status;
    this.body = body;
  }
}

export class Matrix {
  constructor({ homeserver, token, user }) {
    Object.assign(this, { homeserver, token, user });
  }

  async call(method, path, body) {
    const response = await fetch(`${this.homeserver}/_matrix/client${path}`, {
      method,
      headers: { Authorization: `Bearer ${this.token}` },
      body: body && JSON.stringify(body),
    });
    const answer = await response.json();
    if (!response.ok) throw new Refused(response.status, answer);
    return answer;
  }

  // `stateKey` null or absent: a message event. `query`: MSC4140's delay, MSC4354's duration.
  send(room, type, content, stateKey, query = {}) {
    const state = stateKey !== null && stateKey !== undefined;
    const place = state ? `state/${part(type)}/${part(stateKey)}` : `send/${part(type)}/${crypto.randomUUID()}`;
    return this.call('PUT', `/v3/rooms/${part(room)}/${place}?${new URLSearchParams(query)}`, content);
  }

  toDevice(type, messages) {
    return this.call('PUT', `/v3/sendToDevice/${part(type)}/${crypto.randomUUID()}`, { messages });
  }

  delayed(id, action) {
    return this.call('POST', `${DELAYED}/${part(id)}/${action}`, {});
  }

  state(room) {
    return this.call('GET', `/v3/rooms/${part(room)}/state`);
  }

  openid() {
    return this.call('POST', `/v3/user/${part(this.user)}/openid/request_token`, {});
  }

  transports() {
    return this.call('GET', '/unstable/org.matrix.msc4143/rtc/transports');
  }

  // One /sync of this room alone; `since` absent: the first.
  sync(room, since) {
    const filter = { room: { rooms: [room], timeline: { limit: 100 } }, presence: { types: [] } };
    const query = { filter: JSON.stringify(filter), timeout: since ? '20000' : '0' };
    return this.call('GET', `/v3/sync?${new URLSearchParams(since ? { ...query, since } : query)}`);
  }
}
