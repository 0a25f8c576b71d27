// LiveKit identities of MatrixRTC members: "<Matrix id>:<device id>" (MSC4195, `/sfu/get`).
import { localpart } from './matrix.js';

/**
 * The Matrix id in an identity, or null where there is none (a scribe, a hashed identity).
 * Both halves may hold colons (a port in the server name), so a known member decides.
 * @param {{has(id: string): boolean}} known Matrix ids of the room's members
 */
export function userOf(identity, known) {
  if (!identity.startsWith('@')) return null;
  for (let end = identity.lastIndexOf(':'); end > 0; end = identity.lastIndexOf(':', end - 1)) {
    const candidate = identity.slice(0, end);
    if (known.has(candidate)) return candidate;
  }
  const end = identity.lastIndexOf(':');
  const candidate = identity.slice(0, end);
  return candidate.includes(':') ? candidate : null;
}

/**
 * The name shown for an identity: the room's own name for that member. A name that the media
 * server tells may have been chosen by the participant, so it comes last.
 * @param {Map<string, string>} names Matrix id -> display name
 */
export function nameOf(identity, told, names) {
  const user = userOf(identity, names);
  if (user) return names.get(user) ?? localpart(user);
  return told || identity;
}

/** At most two letters for a tile without a picture. */
export function initials(name) {
  const words = name.trim().split(/[\s\-_.]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => [...word][0].toLocaleUpperCase()).join('') || '?';
}
