// One meeting: who was there, what was said, finding inside it, its documents.
import { byId, make } from './dom.js';
import { say } from './i18n.js';
import { asProblem } from './problems.js';
import { Finding } from './finding.js';
import { clock, day, duration, hour } from './when.js';
import { notice, once, show } from './views.js';

/** The name of a site where a room's link is opened by whatever client one uses. */
const LINKS = 'https://matrix.to/#/';

/** What the forms of a document are called; one without a name here is called by its ending. */
const KINDS = {
  md: 'form.md', odt: 'form.odt', docx: 'form.docx', vtt: 'form.vtt', srt: 'form.srt', json: 'form.json', rttm: 'form.rttm', csv: 'form.csv',
};

/** Shows a meeting. @param {string} segment the utterance to go to, '' for the beginning */
export async function showMeeting(archive, config, { conference, segment }, current) {
  const meeting = await archive.ask(`meetings/${encodeURIComponent(conference)}`);
  if (!current()) return;
  const room = meeting.room.name || say('rooms.unnamed');
  byId('meeting-title').textContent = say('archive.where', { room, day: day(meeting.started_ms) });
  byId('meeting-when').textContent = say('archive.when', {
    from: hour(meeting.started_ms),
    to: hour(meeting.ended_ms),
    duration: duration(meeting.ended_ms - meeting.started_ms),
  });
  byId('meeting-room').href = roomLink(meeting, meeting.event_id, config);
  byId('meeting-withheld').hidden = !meeting.withheld;
  byId('meeting-body').hidden = meeting.withheld;
  byId('meeting-missing').hidden = !meeting.missing?.length;
  byId('meeting-missing').textContent = say('archive.missing', { sites: meeting.missing?.join(', ') ?? '' });
  if (!meeting.withheld) fill(archive, config, meeting);
  show('meeting', byId('meeting-title').textContent);
  if (segment) goTo(segment);
}

function fill(archive, config, meeting) {
  byId('people').replaceChildren(...meeting.people.map(person));
  byId('downloads').replaceChildren(...meeting.forms.map((form) => download(archive, meeting, form)));
  notice('download-problem', null);
  byId('said-empty').hidden = meeting.turns.length > 0;
  byId('find').hidden = meeting.turns.length === 0;
  byId('turns').replaceChildren(...meeting.turns.map((turn) => turnEntry(turn, meeting, config)));
  new Finding(byId('turns').querySelectorAll('.said'));
}

/** An address of the room, or of one of its messages (Matrix C-S API, "matrix.to navigation"). */
export function roomLink({ room }, eventId, { server_name: server }) {
  const event = eventId ? `/${encodeURIComponent(eventId)}` : '';
  return `${LINKS}${encodeURIComponent(room.id)}${event}?${new URLSearchParams({ via: server })}`;
}

function person({ name, user_id: id, stays, present_ms: present, spoken_ms: spoken, voices }) {
  const times = stays.map(([from, to]) => say('archive.stay', { from: hour(from), to: hour(to) })).join(', ');
  const facts = [times, spoken ? say('archive.talked', { duration: duration(spoken) }) : say('archive.listened')];
  if (present) facts.splice(1, 0, say('archive.present', { duration: duration(present) }));
  const line = make('li', {}, make('strong', { textContent: name }), ` (${id}) – ${facts.filter(Boolean).join(' · ')}`);
  if (voices.length) line.append(make('ul', {}, ...voices.map(voice)));
  return line;
}

function voice({ name, spoken_ms: spoken }) {
  return make('li', { textContent: `${name} – ${say('archive.talked', { duration: duration(spoken) })}` });
}

function turnEntry({ name, start_ms: start, overlaps, utterances }, meeting, config) {
  const head = make('p', { className: 'turn-head' }, make('strong', { textContent: name }), timeOf(start, utterances[0], meeting, config));
  const note = (key) => head.append(make('span', { className: 'note', textContent: say(key) }));
  if (overlaps) note('archive.overlap');
  if (utterances.some(({ editor }) => editor)) note('archive.corrected');
  return make('li', {}, head, ...utterances.map((utterance) => said(utterance, meeting.language)));
}

function timeOf(start, { event_id: eventId }, meeting, config) {
  const at = clock(start);
  if (!eventId) return make('span', { textContent: at });
  const link = make('a', { href: roomLink(meeting, eventId, config), target: '_blank', rel: 'noopener noreferrer', textContent: at });
  link.setAttribute('aria-label', say('archive.openMessage', { clock: at }));
  return link;
}

function said({ text, language, segment }, around) {
  const line = make('p', { className: 'said', tabIndex: -1, textContent: text });
  line.dataset.segment = segment;
  line.lang = language || around;
  return line;
}

/** Moves to an utterance a search found. */
function goTo(segment) {
  const line = [...byId('turns').querySelectorAll('.said')].find((one) => one.dataset.segment === segment);
  if (!line) return;
  line.classList.add('is-target');
  line.focus();
  line.scrollIntoView({ block: 'center' });
}

function download(archive, { conference }, { form, file_name: name }) {
  const kind = KINDS[form] ? say(KINDS[form]) : form.toUpperCase();
  const text = say('archive.file', { kind, ending: name.split('.').at(-1) });
  const button = make('button', { type: 'button', textContent: text });
  button.onclick = () =>
    once(button, async () => {
      notice('download-problem', null);
      try {
        save(await archive.document(conference, form));
      } catch (error) {
        notice('download-problem', asProblem(error));
      }
    });
  return make('li', {}, button);
}

function save({ name, blob }) {
  const address = URL.createObjectURL(blob);
  make('a', { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000); // the browser has begun to read it by then
}
