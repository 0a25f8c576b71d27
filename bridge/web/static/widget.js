// This page as a widget: what it says to the client whose frame it is in (Matrix widget API; the proof
// of who reads is MSC1960). It asks for no capabilities: of the room it learns what the bridge tells.
import { Problem } from './problems.js';

const ANSWER_MS = 15_000;
const PERSON_MS = 300_000; // a person reads the client's question first
const RENEW_BEFORE_MS = 60_000;
const VERSIONS = ['0.0.1', '0.0.2'];

/** What the address says of the frame: {widgetId, origin}, or null where this is no widget. */
export function frameOf(search, framed) {
  const query = new URLSearchParams(search);
  const widgetId = query.get('widgetId');
  if (!framed || !widgetId) return null;
  try {
    const { origin, protocol } = new URL(query.get('parentUrl') ?? '');
    return protocol === 'https:' || protocol === 'http:' ? { widgetId, origin } : null;
  } catch {
    return null;
  }
}

/** Events: `theme` (detail: its name), `language` (detail: BCP 47 tag). */
export class Widget extends EventTarget {
  constructor({ widgetId, origin }, view = window) {
    super();
    this.widgetId = widgetId;
    this.origin = origin;
    this.view = view;
    this.asked = new Map(); // request id -> {resolve, reject}
    this.credentials = new Map(); // request id -> what is done when a person has decided
    this.proof = null;
    this.asking = null; // one question at a time, whoever needs the answer
    view.addEventListener('message', (event) => this.#receive(event));
  }

  /** An OpenID token of the person, asked for once an hour. Throws a Problem where there is none. */
  async openidToken() {
    if (!this.proof || Date.now() > this.proof.until) {
      this.asking ??= this.#askForToken().finally(() => { this.asking = null; });
      const token = await this.asking;
      this.proof = { token, until: Date.now() + (Number(token.expires_in) || 0) * 1000 - RENEW_BEFORE_MS };
    }
    return this.proof.token;
  }

  async #askForToken() {
    const requestId = newId();
    const decided = new Promise((resolve) => this.credentials.set(requestId, resolve));
    try {
      let answer = await this.#ask('get_openid', {}, requestId);
      if (answer.state === 'request') answer = await inTime(decided, PERSON_MS);
      if (answer.state === 'blocked') throw new Problem('widgetBlocked');
      if (answer.state !== 'allowed' || !answer.access_token) throw new Problem('widgetSilent');
      const { access_token, expires_in, matrix_server_name, token_type } = answer;
      return { access_token, expires_in, matrix_server_name, token_type };
    } finally {
      this.credentials.delete(requestId);
    }
  }

  async #ask(action, data, requestId) {
    const answered = new Promise((resolve) => this.asked.set(requestId, resolve));
    this.#post({ api: 'fromWidget', widgetId: this.widgetId, requestId, action, data });
    try {
      const answer = await inTime(answered, ANSWER_MS);
      if (answer.error) throw new Problem('widgetBlocked');
      return answer;
    } finally {
      this.asked.delete(requestId);
    }
  }

  #receive({ source, origin, data }) {
    if (source !== this.view.parent || origin !== this.origin || data?.widgetId !== this.widgetId) return;
    if (data.api === 'fromWidget' && data.response) this.asked.get(data.requestId)?.(data.response);
    else if (data.api === 'toWidget' && !data.response) this.#post({ ...data, response: this.#answer(data) });
  }

  #answer({ action, data = {} }) {
    switch (action) {
      case 'supported_api_versions':
        return { supported_versions: VERSIONS };
      case 'capabilities':
        return { capabilities: [] };
      case 'openid_credentials':
        this.credentials.get(data.original_request_id)?.(data);
        return {};
      case 'theme_change':
        this.dispatchEvent(new CustomEvent('theme', { detail: String(data.name ?? '') }));
        return {};
      case 'language_change':
        this.dispatchEvent(new CustomEvent('language', { detail: String(data.lang ?? '') }));
        return {};
      case 'notify_capabilities':
      case 'visibility':
        return {};
      default:
        return { error: { message: 'Not known here' } };
    }
  }

  #post(message) {
    this.view.parent.postMessage(message, this.origin);
  }
}

function inTime(promise, limitMs) {
  let timer = 0;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Problem('widgetSilent')), limitMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function newId() {
  return `colloque-${Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
