// Captions as LiveKit agents send them, by both roads: text streams of topic `lk.transcription`
// (attributes lk.segment_id, lk.transcribed_track_id, lk.transcription_final) and the older
// transcription packet. Who speaks is whose track it is, never what the sender claims to be called.
import { RoomEvent } from './vendor/livekit-client.js';

const TOPIC = 'lk.transcription';
const ASKS = 'eu.colloque.captions';
const STANDING = 'lk.agent.state';

/** Asks a media server's scribe for words before they are final, or to leave that (docs/protocol.md). */
export async function askForInterims(media, wanted) {
  try {
    await media.localParticipant.setAttributes({ [ASKS]: wanted ? 'interim' : '' });
  } catch (error) {
    console.warn('captions come when they are final:', error?.message); // not every server lets one say it
  }
}

/** Whether a scribe says that it hears everybody already; one that says nothing is believed. */
export function hearsAll(scribe) {
  const state = scribe.attributes?.[STANDING];
  return state === undefined || state === 'listening';
}

/**
 * @param {object} media a livekit-client Room
 * @param {(said: {segment, participant, text, final, language}) => void} heard
 */
export function listenToCaptions(media, heard) {
  media.registerTextStreamHandler(TOPIC, (reader, { identity }) => {
    readStream(media, reader, identity, heard).catch(() => {
      // The sender went away in mid-sentence: the next segment brings its own stream.
    });
  });
  media.on(RoomEvent.TranscriptionReceived, (segments, participant) => {
    for (const { id, text, final, language } of segments) {
      if (participant) heard({ segment: id, participant, text, final, language });
    }
  });
}

async function readStream(media, reader, sender, heard) {
  const { attributes = {}, id } = reader.info;
  const participant = byTrack(media, attributes['lk.transcribed_track_id']) ?? media.getParticipantByIdentity(sender);
  if (!participant) return;
  const segment = attributes['lk.segment_id'] ?? id;
  let text = '';
  for await (const piece of reader) {
    text += piece;
    heard({ segment, participant, text, final: false, language: '' });
  }
  // The mark may come with the end of the stream only, so it is read afterwards.
  const final = (reader.info.attributes ?? {})['lk.transcription_final'] === 'true';
  if (final) heard({ segment, participant, text, final, language: '' });
}

function byTrack(media, sid) {
  if (!sid) return undefined;
  const everyone = [media.localParticipant, ...media.remoteParticipants.values()];
  return everyone.find((one) => one.trackPublications.has(sid));
}
