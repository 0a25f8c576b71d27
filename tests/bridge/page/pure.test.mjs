// The page's logic that needs no document: run by `node --test` (test_page_logic.py calls it).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BACKLOG, CaptionModel, LINE_CHARS, MAX_LINES, wrap } from '../../../bridge/web/static/caption_model.js';
import { initials, nameOf, userOf } from '../../../bridge/web/static/identity.js';
import { fr } from '../../../bridge/web/static/fr.js';
import { en } from '../../../bridge/web/static/en.js';
import { chooseLanguage } from '../../../bridge/web/static/i18n.js';
import { Membership, content, stateKey } from '../../../bridge/web/static/membership.js';
import { HttpFailure } from '../../../bridge/web/static/http.js';
import { ofHttp } from '../../../bridge/web/static/problems.js';
import { MOST, guests, hashedIdentity, otherServices, readFocus } from '../../../bridge/web/static/focus.js';
import { summary } from '../../../bridge/web/static/rooms.js';

const said = (segment, text, final = true, speaker = 'anne') => ({ segment, speaker, text, final });
const texts = (model, now) => model.visible(now).map((block) => block.lines.map((line) => line.text));

test('lines break at spaces, at 36 signs', () => {
  const text = 'Le budget de la direction générale sera présenté mardi à la commission';
  const lines = wrap(text);
  assert.equal(lines.join(' '), text);
  assert.ok(lines.every((line) => line.length <= LINE_CHARS), String(lines));
  assert.deepEqual(wrap('  '), []);
  assert.deepEqual(wrap('a'.repeat(40)).map((line) => line.length), [36, 4]);
});

test('what is not final is replaced, what is final is not', () => {
  const model = new CaptionModel();
  assert.equal(model.put(said('s1', 'bon', false), 0), false);
  model.put(said('s1', 'bonjour', false), 100);
  assert.deepEqual(texts(model, 100), [['bonjour']]);
  assert.equal(model.put(said('s1', 'Bonjour à tous'), 200), true);
  assert.equal(model.put(said('s1', 'Bonjour à vous'), 250), false);
  model.put(said('s1', 'bonj', false), 300);
  assert.deepEqual(texts(model, 300), [['Bonjour à tous']]);
});

test('a final stays two seconds at least, then goes by itself', () => {
  const model = new CaptionModel();
  model.put(said('s1', 'Oui.'), 1000);
  assert.deepEqual(texts(model, 1000), [['Oui.']]);
  assert.equal(model.nextChange(), 3000);
  assert.deepEqual(texts(model, 2999), [['Oui.']]);
  assert.deepEqual(texts(model, 3000), []);
  assert.equal(model.nextChange(), Infinity);
});

test('a long final stays as long as it takes to read', () => {
  const model = new CaptionModel();
  model.put(said('s1', 'x'.repeat(36)), 0);
  model.visible(0);
  assert.equal(texts(model, 2900).length, 1);
  assert.equal(texts(model, 3000).length, 0);
});

test('three lines at most; each line of a final has its two seconds; nothing is lost', () => {
  const model = new CaptionModel();
  const words = Array.from({ length: 40 }, (_, i) => `mot${i}`).join(' ');
  model.put(said('s1', words), 0);
  const expected = wrap(words);
  const shown = new Map();
  for (let now = 0; now < 20_000; now += 50) {
    const [lines = []] = texts(model, now);
    assert.ok(lines.length <= MAX_LINES);
    for (const line of lines) shown.set(line, (shown.get(line) ?? 0) + 50);
  }
  assert.deepEqual([...shown.keys()], expected);
  assert.ok([...shown.values()].every((ms) => ms >= 2000), String([...shown.values()]));
});

test('finals give way to newer speech only after their time', () => {
  const model = new CaptionModel();
  model.put(said('s1', 'première phrase assez longue pour faire deux lignes entières'), 0);
  model.visible(0);
  model.put(said('s2', 'la suite arrive et occupe aussi deux lignes de sous-titres', false), 100);
  const early = texts(model, 100)[0];
  assert.equal(early.length, 3);
  assert.ok(early[0].startsWith('première'));
  const later = texts(model, 2000)[0];
  assert.ok(!later[0].startsWith('première'), String(later));
  assert.equal(later.length, 3);
});

test('an unfinished segment whose sender went silent does not stay for ever', () => {
  const model = new CaptionModel();
  model.put(said('s1', 'je disais donc', false), 0);
  assert.equal(texts(model, 9000).length, 1);
  assert.equal(model.nextChange(), 10_000);
  assert.equal(texts(model, 10_000).length, 0);
});

test('an interim taken back leaves nothing', () => {
  const model = new CaptionModel();
  model.put(said('s1', 'hein', false), 0);
  model.put(said('s1', '', false), 10);
  assert.deepEqual(texts(model, 10), []);
  assert.equal(model.put(said('s2', ' '), 20), false);
});

test('all speakers share three lines, and each change of speaker begins a block', () => {
  const model = new CaptionModel();
  for (const [at, speaker] of ['anne', 'bruno', 'bruno', 'chloé'].entries()) {
    model.put(said(`s${at}`, `${at} ${speaker}`, true, speaker), at);
  }
  const shown = (now) => model.visible(now).map(({ speaker, lines }) => [speaker, ...lines.map((line) => line.text)]);
  assert.deepEqual(shown(10), [['anne', '0 anne'], ['bruno', '1 bruno', '2 bruno']]);
  assert.deepEqual(shown(2010), [['bruno', '1 bruno', '2 bruno'], ['chloé', '3 chloé']]);
});

test('who speaks at the same time shares what the finals leave', () => {
  const model = new CaptionModel();
  model.put(said('s0', 'Oui.', true, 'anne'), 0);
  model.visible(0);
  model.put(said('s1', 'une phrase assez longue pour deux lignes de texte', false, 'bruno'), 10);
  model.put(said('s2', 'moi aussi', false, 'chloé'), 20);
  assert.deepEqual(texts(model, 20), [['Oui.'], ['lignes de texte'], ['moi aussi']]);
  assert.equal(texts(model, 2000).flat().length, 3);
  model.put(said('s2', '', false, 'chloé'), 2100);
  assert.equal(texts(model, 2100)[0].length, 2);
});

test('a screen that falls behind gives its oldest lines to the log alone', () => {
  const model = new CaptionModel();
  for (let i = 0; i < 2 * BACKLOG; i += 1) model.put(said(`s${i}`, `ligne ${i}`), 0);
  assert.deepEqual(texts(model, 0)[0][0], `ligne ${BACKLOG}`);
  model.clear();
  assert.deepEqual(texts(model, 0), []);
});

test('many segments are remembered in bounded memory', () => {
  const model = new CaptionModel();
  for (let i = 0; i < 2000; i += 1) model.put(said(`s${i}`, 'x'), i);
  assert.equal(model.put(said('s1999', 'y'), 3000), false);
});

test('the Matrix id in an identity', () => {
  const known = new Map([['@a:hs:8448', 'Anne'], ['@b:hs', 'Bruno']]);
  assert.equal(userOf('@a:hs:8448:DEV', known), '@a:hs:8448');
  assert.equal(userOf('@b:hs:DE:V', known), '@b:hs');
  assert.equal(userOf('@new:hs:DEV', known), '@new:hs');
  assert.equal(userOf('@new', known), null);
  assert.equal(userOf('scribe-abc', known), null);
  assert.equal(nameOf('@b:hs:DEV', 'Premier ministre', known), 'Bruno');
  assert.equal(nameOf('@new:hs:DEV', 'Premier ministre', known), 'new');
  assert.equal(nameOf('scribe-abc', 'Transcription', known), 'Transcription');
  assert.equal(nameOf('x', '', known), 'x');
});

test('initials', () => {
  assert.equal(initials('Alice Martin'), 'AM');
  assert.equal(initials('jean-pierre de la tour'), 'JT');
  assert.equal(initials('élodie'), 'É');
  assert.equal(initials(' '), '?');
});

test('both languages have the same sentences with the same values', () => {
  assert.deepEqual(Object.keys(fr).sort(), Object.keys(en).sort());
  const values = (sentence) => (sentence.match(/\{\w+\}/g) ?? []).sort();
  for (const key of Object.keys(fr)) assert.deepEqual(values(fr[key]), values(en[key]), key);
});

test('the language is the first one spoken, else French', () => {
  assert.equal(chooseLanguage(['de-DE', 'en-GB', 'fr']), 'en');
  assert.equal(chooseLanguage(['fr-CA']), 'fr');
  assert.equal(chooseLanguage(['de']), 'fr');
  assert.equal(chooseLanguage([undefined]), 'fr');
});

test('a room as the list shows it', () => {
  const member = 'org.matrix.msc3401.call.member';
  const event = (type, content, extra = {}) => ({ type, content, origin_server_ts: 1000, ...extra });
  const joined = (...events) => ({ summary: { 'm.heroes': ['@b:hs', '@c:hs'] }, state: { events } });
  const call = event(member, { application: 'm.call', expires: 500 });
  assert.equal(summary('!a', joined(call), 1400).live, true);
  assert.equal(summary('!a', joined(call), 1600).live, false);
  assert.equal(summary('!a', joined(event(member, {})), 1000).live, false);
  const bruno = event('m.room.member', { displayname: 'Bruno' }, { state_key: '@b:hs' });
  assert.equal(summary('!a', joined(bruno), 0).name, 'Bruno, @c:hs');
  assert.equal(summary('!a', joined(event('m.room.create', { type: 'm.space' })), 0), null);
});

const account = { userId: '@a:hs', deviceId: 'DEV' };

test('a membership as Element Call reads it', () => {
  assert.equal(stateKey(account), '_@a:hs_DEV_m.call');
  const first = content(account, '!r', 'https://rtc.hs/', 0);
  assert.equal(first.foci_preferred[0].livekit_service_url, 'https://rtc.hs');
  assert.equal('created_ts' in first, false);
  assert.equal(content(account, '!r', 'https://rtc.hs', 5).created_ts, 5);
});

test('a membership the room refuses is no obstacle', async () => {
  const asked = [];
  const refuse = (...args) => {
    asked.push(args);
    return Promise.reject(Object.assign(new Error('no'), { key: 'notMember' }));
  };
  const membership = new Membership({ ...account, setState: refuse, delayed: refuse }, '!r', 'https://rtc.hs');
  await membership.join();
  await membership.leave();
  assert.equal(asked.length, 2); // the leave that was to be scheduled, the membership itself
});

test('a membership left by the delayed event, or in person where there is none', async () => {
  for (const delay_id of ['d1', undefined]) {
    const asked = [];
    const setState = async (...args) => asked.push(['set', args[3], args[4]]) && { delay_id };
    const delayed = async (...args) => asked.push(args);
    const membership = new Membership({ ...account, setState, delayed }, '!r', 'https://rtc.hs');
    await membership.join();
    await membership.leave();
    assert.equal(asked.length, 3);
    assert.match(asked[0][2], /msc4140\.delay=/);
    assert.deepEqual(asked[2], delay_id ? ['d1', 'send'] : ['set', {}, undefined]);
  }
});

test('a membership taken over by another tab stays', async () => {
  const asked = [];
  const setState = async () => ({ delay_id: 'd1' });
  const membership = new Membership({ ...account, setState, delayed: async (...args) => asked.push(args) }, '!r', 'x');
  await membership.join();
  await membership.leave(true);
  assert.deepEqual(asked, [['d1', 'cancel']]);
});

test('why a call is not entered is said', () => {
  const key = (reason, service = 'token') =>
    ofHttp(new HttpFailure(403, { errcode: 'M_FORBIDDEN', 'eu.colloque.reason': reason }), service).key;
  const said = {
    call_ended: 'callEnded',
    full: 'callFull',
    locked: 'callLocked',
    no_bot: 'noBot',
    removed: 'putOut',
    room_closed: 'roomReplaced',
    server_not_admitted: 'serverRefused',
    waiting: 'waiting',
    not_member: 'notMember',
    'a word of a later version': 'notMember',
    3: 'notMember',
  };
  for (const [reason, expected] of Object.entries(said)) {
    assert.equal(key(reason), expected);
    for (const language of [fr, en]) assert.ok(language[`problem.${expected}`], expected);
  }
  assert.equal(key(undefined), 'notMember');
  assert.equal(key('locked', 'homeserver'), 'notMember');
});

const OWN = 'https://a.example';
const member = (user, url, more = {}) => ({
  type: 'org.matrix.msc3401.call.member',
  sender: user,
  state_key: `_${user}_DEV_m.call`,
  origin_server_ts: 1000,
  content: {
    application: 'm.call', call_id: '', device_id: 'DEV', expires: 5000,
    foci_preferred: [{ type: 'livekit', livekit_service_url: url }], ...more,
  },
});

test('a membership names the media server somebody publishes at, while it is in force', () => {
  const bob = member('@bob:b.example', 'https://b.example/');
  assert.deepEqual(readFocus(bob, 5999), { userId: '@bob:b.example', deviceId: 'DEV', url: 'https://b.example' });
  assert.equal(readFocus(bob, 6000), null);
  assert.ok(readFocus(member('@bob:b.example', 'https://b.example', { created_ts: 9000 }), 12_000));
  for (const more of [{ application: 'm.other' }, { call_id: 'x' }, { device_id: 3 }, { expires: null }, { foci_preferred: {} },
    { foci_preferred: [] }, { foci_preferred: [null] }, { foci_preferred: [{ type: 'livekit' }] }, { foci_preferred: [{ type: 'mesh' }] }]) {
    assert.equal(readFocus(member('@bob:b.example', 'https://b.example', more), 2000), null, JSON.stringify(more));
  }
  assert.equal(readFocus({ sender: '@bob:b.example' }, 2000), null);
});

test('the media servers of others are bounded and as safe as one\'s own', () => {
  const at = (url) => member(`@x:${url}`, url);
  const events = ['https://b.example', 'https://a.example/', 'https://b.example/', 'http://c.example', 'ftp://d', 'no address'].map(at);
  assert.deepEqual(otherServices(events, OWN, 2000), ['https://b.example']);
  assert.deepEqual(otherServices([at('http://127.0.0.1:2')], 'http://127.0.0.1:1/', 2000), ['http://127.0.0.1:2']);
  const many = Array.from({ length: 40 }, (_, number) => at(`https://s${number}.example`));
  assert.equal(otherServices(many, OWN, 2000).length, MOST);
});

test('who publishes elsewhere is no further person here', async () => {
  const events = [member('@alice:a.example', OWN), member('@bob:b.example', 'https://b.example')];
  const bob = await hashedIdentity('@bob:b.example', 'DEV');
  assert.deepEqual(await guests(events, OWN, 2000), new Set(['@bob:b.example:DEV', bob]));
  assert.deepEqual((await guests(events, 'https://b.example/', 2000)).has('@alice:a.example:DEV'), true);
  // The vector of MSC4195.
  assert.equal(await hashedIdentity('@alice:example.com', 'DEVICE123', 'memberABC'), 'J+T45tGruxc+HrUOqJJlyQSV33m728Cme4+vt8/SWrU');
});

test('an empty final takes an interim off the screen, for good', () => {
  const model = new CaptionModel();
  model.put(said('s1', 'bonjour à', false), 0);
  assert.deepEqual(texts(model, 100), [['bonjour à']]);
  assert.equal(model.put(said('s1', ''), 200), false);
  assert.deepEqual(texts(model, 200), []);
  model.put(said('s1', 'bonjour à tous', false), 300);
  assert.deepEqual(texts(model, 300), []);
});
