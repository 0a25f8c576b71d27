// Days, hours and durations as people write them, in the page's language and the reader's time zone.
import { language, say } from './i18n.js';

export function day(ms) {
  return new Date(ms).toLocaleDateString(language(), { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
}

export function hour(ms) {
  return new Date(ms).toLocaleTimeString(language(), { hour: '2-digit', minute: '2-digit' });
}

/** `1 h 05`, `12 min`, `40 s`. */
export function duration(ms) {
  const seconds = Math.round(Math.max(0, ms) / 1000);
  if (seconds < 60) return say('archive.seconds', { seconds });
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return say('archive.minutes', { minutes });
  return say('archive.hours', { hours: Math.floor(minutes / 60), minutes: String(minutes % 60).padStart(2, '0') });
}

/** Time since the start: `0:07`, `12:40`, `1:02:03`. */
export function clock(ms) {
  const seconds = Math.floor(Math.max(0, ms) / 1000);
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (n) => String(n).padStart(2, '0');
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}
