// The other organisations in a call: a connection to the media server of each, to listen.
import { Room, RoomEvent } from './vendor/livekit-client.js';
import { MEMBERSHIP, baseAddress, hearing } from './matrix.js';
import { Problem, asProblem } from './problems.js';
import { guests, otherServices } from './focus.js';

const RETRY_AFTER_MS = [1000, 2000, 5000, 10_000, 20_000];
const READ_AGAIN_AFTER_MS = 5_000;

/**
 * Follows the room's memberships and keeps a connection to each media server they name.
 * Events: `opened` and `closed` (detail: a livekit-client Room), `guests` (who counts as a person
 * changed), `problem` (detail: Problem, or null when it is over).
 */
export class Sites extends EventTarget {
  /** @param {{account, serviceUrl: string, roomId: string}} where */
  constructor({ account, serviceUrl, roomId }) {
    super();
    this.account = account;
    this.serviceUrl = baseAddress(serviceUrl);
    this.roomId = roomId;
    this.events = new Map();
    this.sites = new Map();
    this.ownGuests = new Set();
    this.stop = new AbortController();
  }

  /** Connections that are up. */
  rooms() {
    return [...this.sites.values()].filter((site) => site.connected).map((site) => site.media);
  }

  /** Whether a participant of a connection is only listening there. */
  isGuest(media, identity) {
    const site = [...this.sites.values()].find((one) => one.media === media);
    return (site?.guests ?? this.ownGuests).has(identity);
  }

  /** Never throws; ends with `close`. */
  async follow() {
    let since = '';
    while (!this.stop.signal.aborted) {
      try {
        const read = await this.account.events(this.roomId, [MEMBERSHIP], since, this.stop.signal);
        since = read.since;
        await this.#learn(read.events);
      } catch (error) {
        if (!this.stop.signal.aborted) {
          console.warn('memberships not read', asProblem(error).key);
          await pause(READ_AGAIN_AFTER_MS, this.stop.signal);
        }
      }
    }
  }

  async close() {
    this.stop.abort();
    await Promise.all([...this.sites.values()].map((site) => site.close()));
    this.sites.clear();
  }

  async #learn(events) {
    for (const event of events) this.events.set(event.state_key, event);
    const now = Date.now();
    const known = [...this.events.values()];
    const wanted = otherServices(known, this.serviceUrl, now);
    for (const [url, site] of this.sites) {
      if (wanted.includes(url)) continue;
      this.sites.delete(url);
      void site.close();
    }
    this.ownGuests = await guests(known, this.serviceUrl, now);
    for (const url of wanted) {
      const site = this.sites.get(url) ?? this.#open(url);
      site.guests = await guests(known, url, now);
    }
    this.dispatchEvent(new Event('guests'));
  }

  #open(url) {
    const site = new Site(url, this);
    this.sites.set(url, site);
    void site.stay();
    return site;
  }
}

/** The connection to one media server; it comes back by itself as long as somebody publishes there. */
class Site {
  constructor(url, sites) {
    this.url = url;
    this.sites = sites;
    this.guests = new Set();
    this.connected = false;
    this.told = false;
    this.stop = new AbortController();
    this.media = new Room({ adaptiveStream: true });
    this.media.on(RoomEvent.Disconnected, () => this.#down());
  }

  async stay() {
    for (let failures = 0; !this.stop.signal.aborted; failures += 1) {
      try {
        await this.#connect();
        failures = 0;
        await this.lost;
      } catch (error) {
        if (failures === 0) this.#tell(error);
      }
      await pause(RETRY_AFTER_MS[Math.min(failures, RETRY_AFTER_MS.length - 1)], this.stop.signal);
    }
  }

  async close() {
    this.stop.abort();
    await this.media.disconnect(true);
  }

  async #connect() {
    const { url, jwt } = await hearing(this.url, this.sites.account, this.sites.roomId);
    this.lost = new Promise((resolve) => {
      this.media.once(RoomEvent.Disconnected, resolve);
    });
    await this.media.connect(url, jwt, { maxRetries: 1 });
    this.connected = true;
    if (this.told) this.sites.dispatchEvent(new CustomEvent('problem', { detail: null }));
    this.told = false;
    this.sites.dispatchEvent(new CustomEvent('opened', { detail: this.media }));
  }

  #down() {
    if (!this.connected) return;
    this.connected = false;
    this.sites.dispatchEvent(new CustomEvent('closed', { detail: this.media }));
  }

  #tell(error) {
    if (this.stop.signal.aborted) return;
    this.told = true;
    console.warn('a media server of the call is not reached:', asProblem(error).key);
    const detail = new Problem('siteAway', { site: new URL(this.url).hostname });
    this.sites.dispatchEvent(new CustomEvent('problem', { detail }));
  }
}

/** Waits, but no longer than until `signal` is given. */
function pause(ms, signal) {
  return new Promise((resume) => {
    const timer = setTimeout(resume, ms);
    signal.addEventListener('abort', () => { clearTimeout(timer); resume(); }, { once: true });
  });
}
