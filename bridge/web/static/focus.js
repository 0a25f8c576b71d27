// Which media servers a room's call uses (MSC4143), and who is a guest on which: every agent publishes
// at the media server of their own organisation and listens at those of the others (MSC4195).
import { baseAddress } from './matrix.js';

/** Media servers a page connects to at most: anybody in the room can name one. */
export const MOST = 12;

/** What a membership event says, or null where it says nothing that is in force. */
export function readFocus({ sender, content = {}, origin_server_ts: sent = 0 }, now) {
  const { application, call_id: call, device_id: deviceId, created_ts: created, expires } = content;
  const [transport] = Array.isArray(content.foci_preferred) ? content.foci_preferred : [];
  const url = transport?.type === 'livekit' ? transport.livekit_service_url : null;
  if (application !== 'm.call' || call !== '' || typeof deviceId !== 'string' || typeof url !== 'string') return null;
  if (!((created ?? sent) + expires > now)) return null;
  return { userId: sender, deviceId, url: baseAddress(url) };
}

/** The media servers in use besides one's own, in the order of their names. */
export function otherServices(events, own, now) {
  return safeServices([...events].map((event) => readFocus(event, now)?.url), own);
}

/** Of addresses that anybody may have named, those one may ask, without one's own. */
export function safeServices(urls, own) {
  const named = urls.filter((url) => typeof url === 'string').map(baseAddress);
  const safe = new Set(named.filter((url) => url !== baseAddress(own) && asSafe(url, own)));
  return [...safe].sort().slice(0, MOST);
}

/** Not over plain HTTP where one's own service is not: a call must not become readable on its way. */
function asSafe(url, own) {
  try {
    const { protocol } = new URL(url);
    return protocol === 'https:' || (protocol === 'http:' && new URL(own).protocol === 'http:');
  } catch {
    return false;
  }
}

/**
 * Identities that only listen at a media server, since their owners publish at another one: they
 * are no further people. @returns {Promise<Set<string>>}
 */
export async function guests(events, service, now) {
  const elsewhere = [...events].map((event) => readFocus(event, now)).filter((one) => one && one.url !== baseAddress(service));
  const hashed = elsewhere.map(({ userId, deviceId }) => hashedIdentity(userId, deviceId));
  const plain = elsewhere.map(({ userId, deviceId }) => `${userId}:${deviceId}`);
  return new Set([...plain, ...(await Promise.all(hashed))]);
}

/** The identity that `/get_token` gives a member who publishes elsewhere (MSC4195). */
export async function hashedIdentity(userId, deviceId, memberId = `${userId}:${deviceId}`) {
  const text = new TextEncoder().encode(JSON.stringify([userId, deviceId, memberId]));
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', text));
  return btoa(String.fromCharCode(...digest)).replace(/=+$/, '');
}
