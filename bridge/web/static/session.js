// Who is signed in. sessionStorage only: the access token never outlives the tab, and no other
// tab or later user of the machine finds it.
const KEPT = 'colloque.session';
const PENDING = 'colloque.sso';

/** @returns {{homeserver: string, userId: string, deviceId: string, accessToken: string} | null} */
export function restore() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT));
    return kept?.accessToken && kept.userId && kept.deviceId && kept.homeserver ? kept : null;
  } catch {
    return null;
  }
}

export function keep(session) {
  sessionStorage.setItem(KEPT, JSON.stringify(session));
}

export function forget() {
  sessionStorage.removeItem(KEPT);
}

/** Remembers a single sign-on that starts now; returns the state its answer must carry. */
export function beginSso(homeserver, hash) {
  const state = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
  sessionStorage.setItem(PENDING, JSON.stringify({ homeserver, hash, state }));
  return state;
}

/**
 * The sign-on that this answer (`?sso=…&loginToken=…`) ends, once. A login token that nobody here
 * asked for is refused: a prepared link must not sign a person in as somebody else.
 */
export function endSso(query) {
  const pending = JSON.parse(sessionStorage.getItem(PENDING) ?? 'null');
  sessionStorage.removeItem(PENDING);
  const token = query.get('loginToken');
  if (!pending || !token || query.get('sso') !== pending.state) return null;
  return { homeserver: pending.homeserver, hash: pending.hash, token };
}
