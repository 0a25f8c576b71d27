// The way through the page: configuration, session, then what the address asks for.
//   #/                 the rooms of the signed-in person
//   #/room/<room id>   that room (the link in chat)
import { byId } from './dom.js';
import { keepLanguage, language, preferredLanguage, say, speak } from './i18n.js';
import { Problem, asProblem } from './problems.js';
import * as session from './session.js';
import { Account } from './matrix.js';
import { endSignOn, readConfig, roomOf } from './start.js';
import { showSignIn } from './signin.js';
import { showRooms } from './rooms.js';
import { Lobby, readRoom } from './lobby.js';
import { Call } from './call.js';
import { Conference } from './conference.js';
import { show, showProblem } from './views.js';

/** What is under way; `turn` counts navigations, so that a slow answer cannot undo a newer one. */
export const app = { config: null, account: null, lobby: null, conference: null, turn: 0 };

async function start() {
  speak(preferredLanguage());
  wireHeader();
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
  await leaveWhatIsOpen();
  if (turn !== app.turn) return;
  const kept = session.restore();
  app.account = kept && new Account(kept);
  showWho();
  if (!app.account) {
    await showSignIn(app.config, signedIn);
    return;
  }
  const target = roomOf(location.hash);
  if (target === null) await showRooms(app.account, expired);
  else await openRoom(target, turn);
}

async function leaveWhatIsOpen() {
  app.lobby?.close();
  app.lobby = null;
  const { conference } = app;
  app.conference = null;
  await conference?.leave();
}

async function openRoom(roomId, turn) {
  show('wait', say('wait'));
  try {
    if (!roomId) throw new Problem('badLink');
    const room = await readRoom(app.account, roomId, app.config.server_name);
    if (turn !== app.turn) return;
    app.lobby = new Lobby(room, (choice) => joinCall(room, choice));
    await app.lobby.open();
  } catch (error) {
    const problem = asProblem(error);
    if (turn === app.turn && !expired(problem)) showProblem(problem, () => void route());
  }
}

async function joinCall(room, { tracks }) {
  const call = new Call({ account: app.account, serviceUrl: app.config.livekit_service_url, room });
  const conference = new Conference(call, (problem) => over(conference, problem));
  try {
    await call.join(tracks);
  } catch (error) {
    conference.discard();
    throw error;
  }
  app.lobby = null;
  app.conference = conference;
  conference.open();
}

/** The call is over: by the person (null), or for a reason that has a sentence. */
function over(conference, problem) {
  if (app.conference !== conference) return; // left because of a new address
  app.conference = null;
  if (problem && expired(problem)) return;
  byId('left-title').textContent = say(problem?.key === 'callEnded' ? 'ended.title' : 'left.title');
  byId('left-text').textContent = problem ? problem.sentence : say('left.text');
  byId('rejoin').onclick = () => void route();
  show('left');
}

/** Sends a person whose session has ended to sign in again. @returns whether it was that */
function expired(problem) {
  if (problem.key !== 'sessionExpired') return false;
  session.forget();
  app.account = null;
  showWho();
  void showSignIn(app.config, signedIn, problem);
  return true;
}

function signedIn(fresh) {
  session.keep(fresh);
  void route();
}

async function signOut() {
  const { account } = app;
  await leaveWhatIsOpen();
  session.forget();
  try {
    await account?.logOut();
  } catch (error) {
    console.warn('the homeserver was not told of the sign-out', error.key); // the token is gone from here
  }
  await route();
}

function wireHeader() {
  byId('sign-out').onclick = () => void signOut();
  byId('language').onclick = () => {
    const next = language() === 'fr' ? 'en' : 'fr';
    keepLanguage(next);
    speak(next);
    showWho();
    if (app.conference) app.conference.refresh();
    else if (app.config) void route();
  };
  byId('skip').onclick = (event) => {
    event.preventDefault(); // the address's hash belongs to the rooms
    byId('main').focus();
  };
}

function showWho() {
  const user = app.account?.userId;
  byId('who').textContent = user ? say('signedInAs', { user }) : '';
  byId('sign-out').hidden = !user;
  byId('language').textContent = say('otherLanguage');
  byId('language').setAttribute('aria-label', say('otherLanguageLabel'));
  byId('language').lang = language() === 'fr' ? 'en' : 'fr';
}

void start();
