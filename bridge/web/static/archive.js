// The meetings' API of our bridge (docs/api.md): a session from an OpenID token, then questions with it.
import { HttpFailure, requestJson } from './http.js';
import { ofHttp } from './problems.js';

const TIME_LIMIT_MS = 60_000;

export class Archive {
  /** @param {import('./matrix.js').Account} account whose meetings they are */
  constructor(account) {
    this.#account = account;
  }

  #account;
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

  async #begin() {
    const body = { openid_token: await this.#account.openidToken() };
    return (await requestJson('/api/session', { method: 'POST', body })).session;
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
