// The page beside a call: its captions, live, for members of the room. `#/room/<room id>` names the
// room; theme and language may stand behind it (`?theme=dark&lang=fr`). In a client's frame it is a
// widget and learns from the client who reads; otherwise people sign in as on the join page.
import { byId, make } from './dom.js';
import { chooseLanguage, keepLanguage, language, preferredLanguage, say, speak } from './i18n.js';
import { Problem, asProblem } from './problems.js';
import * as session from './session.js';
import { Account } from './matrix.js';
import { CaptionSites } from './caption_sites.js';
import { Captions } from './captions.js';
import { fillCaptionSettings } from './caption_settings.js';
import { showSignIn } from './signin.js';
import { endSignOn, readConfig, roomOf } from './start.js';
import { show, showProblem } from './views.js';
import { Widget, frameOf } from './widget.js';

const frame = frameOf(location.search, window.parent !== window);
const widget = frame && new Widget(frame); // at once: the client speaks as soon as the page is loaded
const given = new URLSearchParams(location.hash.split('?')[1] ?? '');
const app = { config: null, account: null, captions: null, sites: null };

async function start() {
  document.body.classList.toggle('widget', Boolean(widget));
  speak(given.get('lang') ? chooseLanguage([given.get('lang')]) : preferredLanguage());
  theme(given.get('theme') ?? '');
  wire();
  try {
    app.config = await readConfig();
    const ended = await endSignOn();
    if (ended) session.keep(ended);
  } catch (error) {
    showProblem(asProblem(error), () => location.reload());
    return;
  }
  window.addEventListener('hashchange', () => location.reload());
  open();
}

function open() {
  const roomId = roomOf(location.hash);
  if (!roomId) {
    showProblem(new Problem('badLink'), null);
    return;
  }
  const proof = prover();
  if (!proof) {
    void showSignIn(app.config, (fresh) => { session.keep(fresh); open(); });
    return;
  }
  app.captions = new Captions();
  app.sites = new CaptionSites({ serviceUrl: app.config.livekit_service_url, roomId, proof });
  app.sites.addEventListener('caption', ({ detail }) => heard(detail));
  app.sites.addEventListener('left_out', ({ detail }) => app.captions.remark(say('panel.leftOut', detail)));
  app.sites.addEventListener('changed', refresh);
  app.sites.addEventListener('over', ({ detail }) => over(detail));
  app.sites.open();
  show('panel');
  refresh();
}

/** How it is proved who reads; null where the person must sign in first. */
function prover() {
  if (widget) return () => widget.openidToken();
  const kept = session.restore();
  app.account = kept && new Account(kept);
  byId('who').textContent = kept ? say('signedInAs', { user: kept.userId }) : '';
  return app.account && (() => app.account.openidToken());
}

function heard({ segment, user_id: account, name, text, final, language: tag, voice }) {
  const shown = name || say('panel.someone');
  const label = voice ? say('panel.voice', { name: shown, voice: voice.replace(/^V/, '') }) : shown;
  const participant = { identity: `${account} ${voice}` };
  app.captions.heard({ segment, participant, text, final, language: tag }, label, account);
}

function over(problem) {
  app.sites.close();
  app.captions.close();
  if (problem.key === 'sessionExpired') {
    session.forget();
    open();
    return;
  }
  showProblem(problem, open);
}

function refresh() {
  const { captions } = app.sites;
  const sites = app.sites.all();
  byId('panel-state').textContent = say(stateOf(sites, captions));
  const why = { off: 'panel.off', no_call: 'panel.noCall', forbidden: 'panel.forbidden' }[captions];
  const notice = byId('panel-why');
  notice.hidden = !why;
  notice.textContent = why ? say(why, { prefix: app.config.prefix }) : '';
  byId('caption-log').dataset.empty = captions === 'on' ? say('captions.waiting') : '';
  if (captions && captions !== 'on') app.captions.clear();
  const missing = sites.filter(({ own, up, problem }) => !own && !up && problem);
  byId('panel-sites').replaceChildren(
    ...missing.map(({ name }) => make('li', { textContent: say('panel.siteAway', { site: name }) })),
  );
}

function stateOf([own], captions) {
  if (!own.up) return own.problem ? 'panel.away' : 'state.connecting';
  if (captions !== 'on') return 'state.connected';
  return own.state?.captions === 'on' && own.state.scribe !== 'listening' ? 'panel.preparing' : 'panel.listening';
}

function theme(name) {
  const known = /dark/.test(name) ? 'dark' : /light/.test(name) ? 'light' : '';
  if (known) document.documentElement.dataset.theme = known;
}

function change(tag) {
  speak(tag);
  if (app.captions) {
    showPause();
    settings();
    refresh();
  }
  languageButton();
}

function languageButton() {
  byId('language').textContent = say('otherLanguage');
  byId('language').setAttribute('aria-label', say('otherLanguageLabel'));
  byId('language').lang = language() === 'fr' ? 'en' : 'fr';
}

function settings() {
  fillCaptionSettings(app.captions, () => { byId('panel-stage').dataset.size = app.captions.choice.size; });
  byId('panel-stage').dataset.size = app.captions.choice.size;
}

function showPause() {
  const button = byId('panel-pause');
  button.setAttribute('aria-pressed', String(app.captions.paused));
  button.textContent = say(app.captions.paused ? 'panel.resume' : 'panel.pause');
}

function wire() {
  languageButton();
  byId('problem-rooms').hidden = Boolean(widget);
  byId('problem-tab').hidden = !widget;
  byId('problem-tab').href = `captions${location.hash}`;
  byId('language').onclick = () => {
    const next = language() === 'fr' ? 'en' : 'fr';
    keepLanguage(next);
    change(next);
  };
  byId('skip').onclick = (event) => {
    event.preventDefault(); // the address's fragment names the room
    byId('main').focus();
  };
  byId('panel-pause').onclick = () => {
    app.captions.pause(!app.captions.paused);
    showPause();
  };
  byId('panel-settings').ontoggle = settings;
  widget?.addEventListener('theme', ({ detail }) => theme(detail));
  widget?.addEventListener('language', ({ detail }) => change(chooseLanguage([detail])));
}

void start();
