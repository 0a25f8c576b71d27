// Microphones and cameras: which there are, which the person chose, a preview of both.
import { createLocalAudioTrack, createLocalVideoTrack, Room, VideoPresets } from './vendor/livekit-client.js';
import { make } from './dom.js';
import { say } from './i18n.js';
import { Problem, ofDevice } from './problems.js';

const KIND = { microphone: 'audioinput', camera: 'videoinput' };

/** The device chosen on this machine before, or ''. @param {'microphone'|'camera'} kind */
export function chosen(kind) {
  return localStorage.getItem(`colloque.${kind}`) ?? '';
}

export function choose(kind, deviceId) {
  localStorage.setItem(`colloque.${kind}`, deviceId);
}

/** What getUserMedia is asked for. The choice is a wish: an unplugged device must not end in an error. */
export function wanted(kind) {
  const device = chosen(kind) ? { deviceId: { ideal: chosen(kind) } } : {};
  if (kind === 'camera') return { ...device, resolution: VideoPresets.h720.resolution };
  return { ...device, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
}

/** Opens a device. @returns a LocalTrack of livekit-client. Throws a Problem. */
export async function open(kind) {
  if (!navigator.mediaDevices) throw new Problem('insecurePage');
  try {
    return await (kind === 'camera' ? createLocalVideoTrack(wanted(kind)) : createLocalAudioTrack(wanted(kind)));
  } catch (error) {
    throw ofDevice(error, kind);
  }
}

/** Fills a list with the devices of a kind. Names are known only once one of them was allowed. */
export async function fill(select, kind, current = chosen(kind)) {
  const devices = navigator.mediaDevices ? await Room.getLocalDevices(KIND[kind], false) : [];
  select.replaceChildren(
    ...devices.map(({ deviceId, label }, index) =>
      make('option', {
        value: deviceId,
        textContent: label || say(`device.${kind}`, { number: index + 1 }),
        selected: deviceId === current,
      }),
    ),
  );
  select.disabled = devices.length < 2;
  select.hidden = devices.length === 0;
}

/** Calls back with the level (0..1) of a microphone track about ten times a second. @returns a stop function */
export function watchLevel(track, onLevel) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 512;
  context.createMediaStreamSource(new MediaStream([track.mediaStreamTrack])).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    onLevel(Math.max(0, Math.min(1, 1 + Math.log10(power + 1e-6) / 5)));
  }, 100);
  return () => {
    clearInterval(timer);
    void context.close();
  };
}
