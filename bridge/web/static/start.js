// What every page of ours begins with: what the bridge tells of itself, and the end of a sign-on.
import { requestJson } from './http.js';
import { baseAddress, logInWithToken } from './matrix.js';
import { Problem, ofHttp } from './problems.js';
import * as session from './session.js';

/** GET /config.json: {homeserver, server_name, livekit_service_url, other_servers, languages, version}. */
export async function readConfig() {
  try {
    const config = await requestJson('config.json');
    return {
      ...config,
      homeserver: baseAddress(config.homeserver),
      livekit_service_url: baseAddress(config.livekit_service_url),
    };
  } catch (error) {
    throw ofHttp(error, 'page');
  }
}

/** Ends a single sign-on where this address is its answer. @returns a session or null */
export async function endSignOn() {
  const query = new URLSearchParams(location.search);
  if (!query.has('loginToken')) return null;
  const pending = session.endSso(query);
  history.replaceState(null, '', location.pathname + (pending?.hash ?? ''));
  if (!pending) throw new Problem('signOnRefused');
  return logInWithToken(pending.homeserver, pending.token);
}

/** The room id in an address's fragment (`#/room/<id>`); null where it names none; '' where it tries to. */
export function roomOf(hash) {
  const [, id] = /^#\/room\/(.*)$/.exec(hash) ?? [];
  if (id === undefined) return null;
  try {
    const roomId = decodeURIComponent(id.split('?')[0]);
    return /^![^\s/]+$/.test(roomId) ? roomId : '';
  } catch {
    return '';
  }
}
