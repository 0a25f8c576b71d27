// The captions of one site's part of a call, live (docs/protocol.md, "Captions beside the call"). The
// connection comes back by itself, and brings the finals it missed.
import { HttpFailure, requestJson } from './http.js';
import { Problem, asProblem, ofHttp } from './problems.js';
import { eventsOf } from './event_stream.js';

const RETRY_AFTER_MS = [500, 1000, 2000, 5000, 10_000, 20_000];
const SILENT_MS = 25_000; // the bridge shows every 10 s that it is there
const FOR_GOOD = { not_member: 'notMember', elsewhere: 'captionsElsewhere' };
// A person who said no is not asked again and again.
const NO_PROOF = new Set(['widgetBlocked', 'widgetSilent', 'sessionExpired']);

/**
 * Events: `state` (detail: what the bridge says of the captions), `caption`, `left_out` ({count}),
 * `up`, `down` (detail: Problem, or null where it is about to come back), `over` (detail: Problem).
 */
export class CaptionFeed extends EventTarget {
  /** @param {() => Promise<object>} proof gives an OpenID token of who reads */
  constructor({ serviceUrl, roomId, proof }) {
    super();
    this.url = serviceUrl;
    this.roomId = roomId;
    this.proof = proof;
    this.session = '';
    this.last = '';
    this.up = false;
    this.stop = new AbortController();
  }

  /** Never throws; ends with `close`, or when it is over for good. */
  async follow() {
    for (let failures = 0; !this.stop.signal.aborted; failures += 1) {
      let wait = 0;
      try {
        await this.#read(() => { failures = 0; });
        this.#down(null);
      } catch (error) {
        if (this.stop.signal.aborted) return;
        if (error instanceof Over) {
          this.up = false;
          this.#tell('over', error.problem);
          return;
        }
        wait = error.cause?.retryAfterMs ?? 0;
        this.#down(failures > 1 ? asProblem(error) : null);
      }
      await pause(Math.max(wait, RETRY_AFTER_MS[Math.min(failures, RETRY_AFTER_MS.length - 1)]), this.stop.signal);
    }
  }

  close() {
    this.stop.abort();
  }

  async #read(connected) {
    if (!this.session) await this.#signIn();
    const silence = new AbortController();
    let timer = 0;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENT_MS);
    };
    alive();
    try {
      const answer = await this.#ask(AbortSignal.any([this.stop.signal, silence.signal]));
      this.up = true;
      this.#tell('up');
      for await (const { event, data, id } of eventsOf(answer.body, alive)) {
        connected();
        if (id) this.last = id;
        if (event === 'end') {
          this.#end(data.reason);
          return;
        }
        this.#tell(event, data);
      }
    } catch (error) {
      if (error instanceof Over || error instanceof Problem) throw error;
      throw new Problem('captionsAway', {}, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  async #signIn() {
    const openid = await this.#prove();
    try {
      const body = { openid_token: openid, room: this.roomId };
      const answer = await requestJson(`${this.url}/api/session`, { method: 'POST', body, stop: this.stop.signal });
      this.session = answer.session;
    } catch (error) {
      throw ofHttp(error, 'token');
    }
  }

  async #prove() {
    try {
      return await this.proof();
    } catch (error) {
      const problem = asProblem(error);
      throw NO_PROOF.has(problem.key) ? new Over(problem) : problem;
    }
  }

  async #ask(signal) {
    const headers = { Authorization: `Bearer ${this.session}` };
    if (this.last) headers['Last-Event-ID'] = this.last;
    const address = `${this.url}/api/captions?${new URLSearchParams({ room: this.roomId })}`;
    const options = { headers, signal, credentials: 'omit', cache: 'no-store', referrerPolicy: 'no-referrer' };
    const answer = await fetch(address, options);
    if (answer.ok) return answer;
    if (answer.status === 401) this.session = '';
    const failure = new HttpFailure(answer.status, await answer.json().catch(() => ({})));
    const problem = ofHttp(failure, 'token');
    if (answer.status === 403) throw new Over(problem);
    throw problem;
  }

  #end(reason) {
    if (reason === 'session') this.session = '';
    if (FOR_GOOD[reason]) throw new Over(new Problem(FOR_GOOD[reason]));
  }

  #down(problem) {
    this.up = false;
    this.#tell('down', problem);
  }

  #tell(name, detail = null) {
    if (!this.stop.signal.aborted) this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** Trying again would be against the room's will, or this person's own. */
class Over extends Error {
  constructor(problem) {
    super(problem.key);
    this.problem = problem;
  }
}

function pause(ms, signal) {
  return new Promise((resume) => {
    const timer = setTimeout(resume, ms);
    signal.addEventListener('abort', () => { clearTimeout(timer); resume(); }, { once: true });
  });
}
