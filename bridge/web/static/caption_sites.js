// A call's captions from all its sites: each site's scribe hears those who publish there, and each
// site's bridge asks for itself who is a member (as its token service does for the media).
import { CaptionFeed } from './caption_feed.js';
import { safeServices } from './focus.js';

/**
 * Events: `caption` (detail), `left_out` ({count}), `changed` (some site's state), `over` (detail:
 * Problem): one's own site lets one read no more.
 */
export class CaptionSites extends EventTarget {
  constructor({ serviceUrl, roomId, proof }) {
    super();
    this.own = serviceUrl;
    this.where = { roomId, proof };
    this.sites = new Map(); // url -> {feed, state, problem}
  }

  open() {
    this.#add(this.own);
  }

  close() {
    for (const { feed } of this.sites.values()) feed.close();
    this.sites.clear();
  }

  /** What a person is told: [{name, own, up, problem, state}], one's own site first. */
  all() {
    return [...this.sites].map(([url, { feed, state, problem }]) => ({
      name: new URL(url).hostname,
      own: url === this.own,
      up: feed.up,
      problem,
      state,
    }));
  }

  /** `on` where any site shows captions; else what one's own says; '' while nobody has said anything. */
  get captions() {
    const states = [...this.sites.values()].map(({ state }) => state?.captions);
    return states.includes('on') ? 'on' : (states[0] ?? '');
  }

  #add(url) {
    const feed = new CaptionFeed({ serviceUrl: url, ...this.where });
    const site = { feed, state: null, problem: null };
    this.sites.set(url, site);
    const on = (name, action) => feed.addEventListener(name, ({ detail }) => {
      if (this.sites.get(url) === site) action(detail);
    });
    on('caption', (detail) => this.dispatchEvent(new CustomEvent('caption', { detail })));
    on('left_out', (detail) => this.dispatchEvent(new CustomEvent('left_out', { detail })));
    on('up', () => { site.problem = null; this.#changed(); });
    on('down', (problem) => { site.problem = problem; this.#changed(); });
    on('state', (state) => {
      site.state = state;
      if (url === this.own) this.#follow(state.sites ?? []);
      this.#changed();
    });
    on('over', (problem) => {
      site.problem = problem;
      if (url === this.own) this.dispatchEvent(new CustomEvent('over', { detail: problem }));
      else this.#changed();
    });
    void feed.follow();
  }

  #follow(named) {
    const wanted = safeServices(named, this.own);
    for (const [url, { feed }] of this.sites) {
      if (url === this.own || wanted.includes(url)) continue;
      feed.close();
      this.sites.delete(url);
    }
    for (const url of wanted) if (!this.sites.has(url)) this.#add(url);
  }

  #changed() {
    this.dispatchEvent(new Event('changed'));
  }
}
