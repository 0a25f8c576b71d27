// The list of meetings one may read, and what was found in them.
import { announce, byId, make } from './dom.js';
import { say } from './i18n.js';
import { clock, day, duration, hour } from './when.js';
import { once, show } from './views.js';

export const meetingLink = (conference, segment = '') =>
  `#/meeting/${encodeURIComponent(conference)}${segment ? `/${encodeURIComponent(segment)}` : ''}`;

/** Shows the first page of the list. @param {{failed: (error) => void}} handlers */
export async function showMeetings(archive, current, failed) {
  const first = await archive.ask('meetings');
  if (!current()) return;
  byId('meetings-empty').hidden = first.meetings.length > 0;
  byId('meetings-partial').hidden = first.complete;
  byId('meetings').replaceChildren();
  const more = (page) => {
    const entries = page.meetings.map(entry);
    byId('meetings').append(...entries);
    byId('meetings-more').hidden = !page.next;
    byId('meetings-more').onclick = () =>
      once(byId('meetings-more'), async () => {
        try {
          const [next] = more(await archive.ask(`meetings?${new URLSearchParams({ before: page.next })}`));
          next?.querySelector('a').focus();
        } catch (error) {
          failed(error);
        }
      });
    return entries;
  };
  more(first);
  show('meetings');
}

function entry(meeting) {
  const { room, started_ms: started, ended_ms: ended, people, withheld, conference } = meeting;
  const title = make('strong', { textContent: room.name || say('rooms.unnamed') });
  const facts = [`${day(started)}, ${hour(started)}`, duration(ended - started)];
  if (people !== undefined) facts.push(people === 1 ? say('archive.one') : say('archive.count', { count: people }));
  if (withheld) facts.push(say('archive.sealed'));
  const line = make('span', { className: 'line', textContent: facts.join(' · ') });
  return make('li', {}, make('a', { href: meetingLink(conference) }, title, line));
}

/** Shows what a search found. @param {URLSearchParams} query of the address */
export async function showResults(archive, query, current, failed) {
  const first = await archive.ask(`search?${query}`);
  if (!current()) return;
  byId('results-title').textContent = say('archive.results', { query: query.get('q') });
  byId('results-empty').hidden = first.results.length > 0;
  byId('results-partial').hidden = first.complete;
  byId('results').replaceChildren();
  const more = (page) => {
    const entries = page.results.map(result);
    byId('results').append(...entries);
    count(byId('results').children.length, page.next !== null);
    byId('results-more').hidden = page.next === null;
    byId('results-more').onclick = () =>
      once(byId('results-more'), async () => {
        try {
          const [next] = more(await archive.ask(`search?${new URLSearchParams([...query, ['offset', page.next]])}`));
          next?.querySelector('a').focus();
        } catch (error) {
          failed(error);
        }
      });
    return entries;
  };
  more(first);
  show('results');
}

function count(shown, further) {
  const key = further ? 'archive.foundMore' : shown === 1 ? 'archive.foundOne' : 'archive.found';
  const sentence = say(key, { count: shown });
  byId('results-count').textContent = sentence;
  announce(sentence);
}

function result({ conference, segment, room, meeting_started_ms: started, said_ms: said, name, language, snippet }) {
  const where = make('a', {
    href: meetingLink(conference, segment),
    textContent: say('archive.where', { room: room.name || say('rooms.unnamed'), day: day(started) }),
  });
  const line = make('p', { className: 'line', textContent: say('archive.saidBy', { name, clock: clock(said - started) }) });
  const words = make('blockquote', {}, ...snippet.map(({ text, found }) => (found ? make('mark', { textContent: text }) : text)));
  if (language) words.lang = language;
  return make('li', {}, make('h2', {}, where), line, words);
}
