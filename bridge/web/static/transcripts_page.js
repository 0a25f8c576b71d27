// The page of meetings, read months later. What its address asks for:
//   #/                                 the meetings one may read
//   #/search?q=…&who=…&from=…&to=…     what was found in all of them
//   #/meeting/<conference>[/<segment>] one of them, at an utterance
import { announce, byId } from './dom.js';
import { keepLanguage, language, preferredLanguage, say, speak } from './i18n.js';
import { Problem, asProblem } from './problems.js';
import * as session from './session.js';
import { Account } from './matrix.js';
import { Archive } from './archive.js';
import { showMeeting } from './meeting.js';
import { showMeetings, showResults } from './meetings.js';
import { showSignIn } from './signin.js';
import { endSignOn, readConfig } from './start.js';
import { show, showProblem } from './views.js';

const FIELDS = { q: 'query', who: 'filter-who', from: 'filter-from', to: 'filter-to' };
/** `turn` counts navigations, so that a slow answer cannot undo a newer one. */
const app = { config: null, account: null, archive: null, token: null, turn: 0 };

async function start() {
  speak(preferredLanguage());
  wire();
  try {
    app.config = await readConfig();
    const ended = await endSignOn();
    if (ended) session.keep(ended);
  } catch (error) {
    showProblem(asProblem(error), () => location.reload());
    return;
  }
  window.addEventListener('hashchange', () => void route());
  await route();
}

async function route() {
  const turn = ++app.turn;
  const current = () => turn === app.turn;
  signIn();
  if (!app.account) {
    await showSignIn(app.config, signedIn);
    return;
  }
  const target = read(location.hash);
  fillSearch(target.query ?? new URLSearchParams());
  show('wait', say('wait'));
  try {
    if (target.problem) throw target.problem;
    if (target.conference) await showMeeting(app.archive, app.config, target, current);
    else if (target.query) await showResults(app.archive, target.query, current, failed);
    else await showMeetings(app.archive, current, failed);
  } catch (error) {
    if (current()) failed(error);
  }
}

/** What an address asks for: {conference, segment}, {query}, or neither: the list. */
function read(hash) {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  const [what, ...rest] = path.split('/');
  try {
    const [conference = '', segment = ''] = rest.map(decodeURIComponent);
    if (what === 'meeting' && conference) return { conference, segment };
  } catch {
    return { problem: new Problem('notYours') };
  }
  const asked = new URLSearchParams(query);
  if (what === 'search' && asked.get('q')?.trim()) return { query: known(asked) };
  return {};
}

function known(asked) {
  return new URLSearchParams(Object.keys(FIELDS).filter((name) => asked.get(name)).map((name) => [name, asked.get(name)]));
}

function failed(error) {
  const problem = asProblem(error);
  if (problem.key !== 'sessionExpired') {
    showProblem(problem, () => void route());
    return;
  }
  session.forget();
  signIn();
  void showSignIn(app.config, signedIn, problem);
}

/** Whose page it is now; what another person read is gone from it. */
function signIn() {
  const kept = session.restore();
  if ((kept?.accessToken ?? null) !== app.token) {
    app.token = kept?.accessToken ?? null;
    app.account = kept && new Account(kept);
    app.archive = app.account && new Archive(app.account, proving);
    for (const id of ['meetings', 'results', 'turns', 'people']) byId(id).replaceChildren();
  }
  const user = app.account?.userId;
  byId('who').textContent = user ? say('signedInAs', { user }) : '';
  byId('sign-out').hidden = !user;
  byId('search').hidden = !user;
}

/** How the proof of who reads goes on: beside "one moment", and for who does not see it. */
function proving(key) {
  byId('wait-why').textContent = key && say(key);
  if (key) announce(say(key));
}

function signedIn(fresh) {
  session.keep(fresh);
  void route();
}

async function signOut() {
  const { account, archive } = app;
  session.forget();
  await archive?.close();
  try {
    await account?.logOut();
  } catch (error) {
    console.warn('the homeserver was not told of the sign-out', error.key); // the token is gone from here
  }
  await route();
}

function fillSearch(query) {
  for (const [name, id] of Object.entries(FIELDS)) byId(id).value = query.get(name) ?? '';
  byId('filters').open = ['who', 'from', 'to'].some((name) => query.get(name));
}

function search(event) {
  event.preventDefault();
  const given = Object.entries(FIELDS).map(([name, id]) => [name, byId(id).value.trim()]);
  const query = new URLSearchParams(given.filter(([, value]) => value));
  if (!query.get('q')) {
    byId('query').focus();
    return;
  }
  const hash = `#/search?${query}`;
  if (location.hash === hash) void route();
  else location.hash = hash;
}

function wire() {
  languageButton();
  byId('sign-out').onclick = () => void signOut();
  byId('search').onsubmit = search;
  byId('language').onclick = () => {
    const next = language() === 'fr' ? 'en' : 'fr';
    keepLanguage(next);
    speak(next);
    languageButton();
    if (app.config) void route();
  };
  byId('skip').onclick = (event) => {
    event.preventDefault(); // the address's fragment says what is read
    byId('main').focus();
  };
}

function languageButton() {
  byId('language').textContent = say('otherLanguage');
  byId('language').setAttribute('aria-label', say('otherLanguageLabel'));
  byId('language').lang = language() === 'fr' ? 'en' : 'fr';
}

void start();
