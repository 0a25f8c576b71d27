// The signed-in person's rooms, read with one filtered sync, and the list of them.
import { byId, icon, make } from './dom.js';
import { say, language } from './i18n.js';
import { asProblem } from './problems.js';
import { MEMBERSHIP } from './matrix.js';
import { once, show, showProblem } from './views.js';

export const STATUS = 'eu.colloque.conference.status';
const NOTHING = { types: [] };
const FILTER = {
  presence: NOTHING,
  account_data: NOTHING,
  room: {
    account_data: NOTHING,
    ephemeral: NOTHING,
    timeline: { limit: 1, types: [] },
    state: {
      lazy_load_members: true, // members arrive only as far as they name a room
      types: ['m.room.create', 'm.room.name', 'm.room.canonical_alias', 'm.room.encryption', 'm.room.member', STATUS, MEMBERSHIP],
    },
  },
};

/** What the list shows of a room. Spaces are not rooms to talk in: null. */
export function summary(roomId, joined, now) {
  const events = [...(joined.state?.events ?? []), ...(joined.timeline?.events ?? [])];
  const content = (type) => events.findLast((event) => event.type === type)?.content ?? {};
  if (content('m.room.create').type === 'm.space') return null;
  return {
    roomId,
    name: content('m.room.name').name || content('m.room.canonical_alias').alias || heroNames(joined, events),
    members: joined.summary?.['m.joined_member_count'] ?? 0,
    encrypted: Boolean(content('m.room.encryption').algorithm),
    live: isLive(events, now),
  };
}

function heroNames(joined, events) {
  const heroes = joined.summary?.['m.heroes'] ?? [];
  const nameOf = (id) =>
    events.find((event) => event.type === 'm.room.member' && event.state_key === id)?.content.displayname;
  return heroes.map((id) => nameOf(id) || id).join(', ');
}

/** Whether the fact a bridge wrote (state event eu.colloque.conference.status) is a running call. */
export function isActive(status) {
  return status?.active === true;
}

/** A bridge says a call is on, or a MatrixRTC membership has not expired (MSC4143). */
function isLive(events, now) {
  return events.some(({ type, content, origin_server_ts: sent }) => {
    if (type === STATUS) return isActive(content);
    if (type !== MEMBERSHIP || content.application !== 'm.call') return false;
    return (content.created_ts ?? sent) + (content.expires ?? 0) > now;
  });
}

/** Rooms to talk in: those with a call first, then by name; invitations apart. */
export async function readRooms(account, now = Date.now()) {
  const { rooms = {} } = await account.sync(FILTER);
  const joined = Object.entries(rooms.join ?? {})
    .map(([id, room]) => summary(id, room, now))
    .filter(Boolean)
    .sort((a, b) => b.live - a.live || a.name.localeCompare(b.name, language()));
  const invited = Object.entries(rooms.invite ?? {}).map(([roomId, room]) => ({
    roomId,
    name: room.invite_state?.events?.find((event) => event.type === 'm.room.name')?.content.name ?? '',
  }));
  return { joined, invited };
}

export function roomLink(roomId) {
  return `#/room/${encodeURIComponent(roomId)}`;
}

/** Shows the list. @param {(problem) => boolean} expired handles an expired session */
export async function showRooms(account, expired) {
  byId('rooms-refresh').onclick = () => once(byId('rooms-refresh'), () => showRooms(account, expired));
  try {
    const { joined, invited } = await readRooms(account);
    byId('rooms-empty').hidden = joined.length + invited.length > 0;
    byId('rooms').replaceChildren(
      ...invited.map((room) => invitation(account, room, () => showRooms(account, expired))),
      ...joined.map(entry),
    );
    show('rooms');
  } catch (error) {
    const problem = asProblem(error);
    if (!expired(problem)) showProblem(problem, () => showRooms(account, expired));
  }
}

function entry(room) {
  const title = make('span', { className: 'room-name', textContent: room.name || say('rooms.unnamed') });
  const count = room.members === 1 ? say('rooms.one') : say('rooms.people', { count: room.members });
  const line = make('span', { className: 'room-line' });
  if (room.encrypted) {
    line.append(say('rooms.encrypted'));
    return make('li', { className: 'room room-closed' }, make('div', {}, title, line));
  }
  if (room.live) line.append(make('span', { className: 'badge', textContent: say('rooms.live') }), ' ');
  line.append(icon('people'), ` ${count}`);
  return make('li', { className: 'room' }, make('a', { href: roomLink(room.roomId) }, title, line));
}

function invitation(account, room, refresh) {
  const name = room.name || say('rooms.unnamed');
  const button = make('button', { type: 'button', textContent: say('rooms.accept', { room: name }) });
  const problem = make('p', { className: 'notice notice-problem', role: 'alert', hidden: true });
  button.onclick = () =>
    once(button, async () => {
      try {
        await account.acceptInvitation(room.roomId);
        await refresh();
      } catch (error) {
        problem.textContent = asProblem(error).sentence;
        problem.hidden = false;
      }
    });
  const badge = make('span', { className: 'badge badge-quiet', textContent: say('rooms.invited') });
  return make('li', { className: 'room room-invited' }, badge, button, problem);
}
