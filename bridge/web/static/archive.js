// The meetings' API of our bridge (docs/api.md): a session that the reader's homeserver vouches for, then
// questions with it.
import { HttpFailure, requestJson } from './http.js';
import { Problem, ofHttp } from './problems.js';

const TIME_LIMIT_MS = 60_000;
const TRIES = 2;

export class Archive {
  /**
   * @param {import('./matrix.js').Account} account whose meetings they are
   * @param {(key: string) => void} told how signing in goes on: a sentence's key, '' at its end
   */
  constructor(account, told = () => {}) {
    this.#account = account;
    this.#told = told;
  }

  #account;
  #told;
  #session = null;

  /** @param {string} path below /api/ */
  ask(path) {
    return this.#withSession((token) => requestJson(`/api/${path}`, { token }));
  }

  /** A document of a meeting: {name, blob}. */
  async document(conference, form) {
    const path = `/api/meetings/${encodeURIComponent(conference)}/document.${encodeURIComponent(form)}`;
    return this.#withSession((token) => download(path, token));
  }

  /** The bridge forgets the session. That it was not told of it is no reason to stay signed in. */
  async close() {
    const token = this.#session;
    this.#session = null;
    if (token) await requestJson('/api/session', { method: 'DELETE', token }).catch(() => {});
  }

  /** A session lasts an hour, or until the bridge restarts: a new one is got once without a word. */
  async #withSession(asking) {
    try {
      const fresh = !this.#session;
      this.#session ??= await this.#begin();
      try {
        return await asking(this.#session);
      } catch (error) {
        if (fresh || error.status !== 401) throw error;
        this.#session = await this.#begin();
        return await asking(this.#session);
      }
    } catch (error) {
      throw ofHttp(error, 'archive');
    }
  }

  /** To-device messages are lost where the bridge is just starting anew: a second one is sent. */
  async #begin() {
    try {
      let asked = null;
      for (let tries = 0; tries < TRIES; tries += 1) {
        this.#told(tries ? 'archive.provingAgain' : 'archive.proving');
        asked ??= await this.#challenge();
        await this.#account.prove(asked, location.origin);
        try {
          const { challenge, secret } = asked;
          return (await requestJson('/api/session', { method: 'POST', body: { challenge, secret } })).session;
        } catch (error) {
          if (error.status !== 401) throw error;
          if (error.reason !== 'not_proved') asked = null; // a bridge that restarted knows none
        }
      }
      throw new Problem('notProved');
    } finally {
      this.#told('');
    }
  }

  async #challenge() {
    const body = { user_id: this.#account.userId };
    const asked = await requestJson('/api/session/challenge', { method: 'POST', body });
    // The bridge believes messages written at its own address alone (docs/decisions/0012).
    if (asked.site !== location.origin) throw new Problem('otherAddress', { address: asked.site });
    return asked;
  }
}

async function download(path, token) {
  const headers = { Authorization: `Bearer ${token}` };
  const options = { headers, credentials: 'omit', cache: 'no-store', signal: AbortSignal.timeout(TIME_LIMIT_MS) };
  const response = await fetch(path, options).catch((cause) => {
    throw new HttpFailure(0, {}, { cause });
  });
  if (!response.ok) throw new HttpFailure(response.status, await response.json().catch(() => ({})));
  const [, name] = /filename="([^"]+)"/.exec(response.headers.get('Content-Disposition') ?? '') ?? [];
  return { name: name ?? 'transcript', blob: await response.blob() };
}
