// The part of Matrix's client-server API (v3) a call needs. Each function returns or throws a Problem.
import { requestJson, HttpFailure } from './http.js';
import { Problem, ofHttp } from './problems.js';

const CLIENT = '/_matrix/client/v3';
export const MEMBERSHIP = 'org.matrix.msc3401.call.member';

/** Base address without a slash at its end, as it is joined with paths. */
export function baseAddress(address) {
  return String(address).replace(/\/+$/, '');
}

/** How people may sign in at a homeserver: {password, sso, providers: [{id, name}]}. */
export async function loginMethods(homeserver) {
  const { flows = [] } = await asked(`${homeserver}${CLIENT}/login`, {}, 'login');
  const sso = flows.find((flow) => flow.type === 'm.login.sso');
  return {
    password: flows.some((flow) => flow.type === 'm.login.password'),
    sso: Boolean(sso),
    providers: sso?.identity_providers ?? [],
  };
}

/** Password login. @returns a session for session.js */
export function logIn(homeserver, user, password) {
  const identifier = { type: 'm.id.user', user };
  return newSession(homeserver, { type: 'm.login.password', identifier, password });
}

/** The end of a single sign-on. */
export function logInWithToken(homeserver, token) {
  return newSession(homeserver, { type: 'm.login.token', token });
}

async function newSession(homeserver, credentials) {
  const body = { ...credentials, initial_device_display_name: 'Colloque' };
  const answer = await asked(`${homeserver}${CLIENT}/login`, { method: 'POST', body }, 'login');
  return {
    homeserver,
    userId: answer.user_id,
    deviceId: answer.device_id,
    accessToken: answer.access_token,
  };
}

/** Where the browser goes for a single sign-on; it comes back to `returnTo` with ?loginToken=. */
export function ssoAddress(homeserver, providerId, returnTo) {
  const provider = providerId ? `/${encodeURIComponent(providerId)}` : '';
  const query = new URLSearchParams({ redirectUrl: returnTo });
  return `${homeserver}${CLIENT}/login/sso/redirect${provider}?${query}`;
}

/** The client API of another organisation's server name, from its .well-known (spec: client-server 4.2). */
export async function discover(serverName) {
  if (!/^[A-Za-z0-9.-]+(:\d+)?$/.test(serverName)) throw new Problem('serverUnknown', { server: serverName });
  try {
    const answer = await requestJson(`https://${serverName}/.well-known/matrix/client`);
    const address = new URL(answer['m.homeserver'].base_url);
    if (address.protocol !== 'https:') throw new TypeError('not https');
    return baseAddress(address.href);
  } catch (cause) {
    throw new Problem('serverUnknown', { server: serverName }, { cause });
  }
}

/** A signed-in account. */
export class Account {
  constructor(session) {
    this.userId = session.userId;
    this.deviceId = session.deviceId;
    this.homeserver = session.homeserver;
    this.#token = session.accessToken;
  }

  #token;

  /** Any call of the client API, with the account's token. @param {string} path below /_matrix/client/v3 */
  async ask(path, options = {}) {
    return asked(`${this.homeserver}${CLIENT}${path}`, { ...options, token: this.#token }, 'homeserver');
  }

  /**
   * One whole, filtered sync: what `rooms.js` reads the list of rooms from. Such a sync is answered
   * at once whatever its `timeout`; a new value each time keeps Synapse from repeating what it
   * answered up to two minutes ago (its sync_response_cache_duration).
   */
  sync(filter) {
    const query = new URLSearchParams({ filter: JSON.stringify(filter), timeout: Date.now() % 30_000 });
    return this.ask(`/sync?${query}`, { limitMs: 30_000 });
  }

  /**
   * State events of some types in one room: what is there now, or what came after `since`.
   * @returns {Promise<{since: string, events: object[]}>} after 25 s where nothing came
   */
  async events(roomId, types, since, stop) {
    const nothing = { types: [] };
    const room = { rooms: [roomId], account_data: nothing, ephemeral: nothing, timeline: { types, limit: 50 }, state: { types } };
    const filter = JSON.stringify({ presence: nothing, account_data: nothing, room });
    const query = new URLSearchParams({ filter, timeout: since ? 25_000 : 0, ...(since ? { since } : {}) });
    const answer = await this.ask(`/sync?${query}`, { limitMs: 40_000, stop });
    const { state, timeline } = answer.rooms?.join?.[roomId] ?? {};
    const events = [...(state?.events ?? []), ...(timeline?.events ?? [])];
    return { since: answer.next_batch, events: events.filter((event) => event.state_key !== undefined) };
  }

  /** Display names of a room's joined members: Map of Matrix id to name. Not a member: a Problem. */
  async members(roomId) {
    const { joined = {} } = await this.ask(`/rooms/${encodeURIComponent(roomId)}/joined_members`);
    return new Map(Object.entries(joined).map(([id, { display_name: name }]) => [id, name || localpart(id)]));
  }

  /** Content of a state event, or null where the room has none. */
  async state(roomId, type, key = '') {
    try {
      const path = `/rooms/${encodeURIComponent(roomId)}/state/${encodeURIComponent(type)}/${encodeURIComponent(key)}`;
      return await this.ask(path);
    } catch (problem) {
      if (problem.cause instanceof HttpFailure && problem.cause.status === 404) return null;
      throw problem;
    }
  }

  setState(roomId, type, key, content, query = '') {
    const path = `/rooms/${encodeURIComponent(roomId)}/state/${encodeURIComponent(type)}/${encodeURIComponent(key)}`;
    return this.ask(path + query, { method: 'PUT', body: content });
  }

  /** Manages a delayed event (MSC4140): `restart`, `send` or `cancel`. */
  delayed(delayId, action) {
    const base = `${this.homeserver}/_matrix/client/unstable/org.matrix.msc4140/delayed_events/`;
    const options = { method: 'POST', body: {}, token: this.#token };
    return asked(`${base}${encodeURIComponent(delayId)}/${action}`, options, 'homeserver');
  }

  acceptInvitation(roomId) {
    return this.ask(`/rooms/${encodeURIComponent(roomId)}/join`, { method: 'POST', body: {} });
  }

  /** A token that proves to the call service who asks, and opens nothing else. */
  openidToken() {
    return this.ask(`/user/${encodeURIComponent(this.userId)}/openid/request_token`, { method: 'POST', body: {} });
  }

  /** Answers a bridge's challenge with a to-device message: the homeservers vouch for its sender. */
  prove({ challenge, bot, device }, site) {
    const txn = crypto.getRandomValues(new Uint32Array(2)).join('');
    const body = { messages: { [bot]: { [device]: { challenge, site } } } };
    return this.ask(`/sendToDevice/eu.colloque.session/${txn}`, { method: 'PUT', body });
  }

  logOut() {
    return this.ask('/logout', { method: 'POST', body: {} });
  }
}

/** Admission to a call: {url, jwt} from the token service (MSC4195's `/sfu/get`). */
export async function admission(serviceUrl, account, roomId) {
  const body = { room: roomId, openid_token: await account.openidToken(), device_id: account.deviceId };
  const answer = await asked(`${baseAddress(serviceUrl)}/sfu/get`, { method: 'POST', body }, 'token');
  if (!answer.url || !answer.jwt) throw new Problem('callsAway');
  return { url: answer.url, jwt: answer.jwt };
}

/**
 * Admission to the media server of another organisation, where one only listens: `/get_token` gives
 * an identity apart from the one people are known by; services that lack it have `/sfu/get`.
 */
export async function hearing(serviceUrl, account, roomId) {
  const { userId, deviceId } = account;
  const member = { id: `${userId}:${deviceId}`, claimed_user_id: userId, claimed_device_id: deviceId };
  const body = { room_id: roomId, slot_id: 'm.call#ROOM', openid_token: await account.openidToken(), member };
  try {
    const answer = await requestJson(`${baseAddress(serviceUrl)}/get_token`, { method: 'POST', body });
    if (answer.url && answer.jwt) return answer;
  } catch (error) {
    if (error.status !== 404 && error.status !== 405) throw ofHttp(error, 'token');
  }
  return admission(serviceUrl, account, roomId);
}

/** The part of a Matrix id a person calls themself where they have no display name. */
export function localpart(userId) {
  return userId.replace(/^@/, '').split(':')[0];
}

async function asked(url, options, service) {
  try {
    return await requestJson(url, options);
  } catch (error) {
    throw ofHttp(error, service);
  }
}
