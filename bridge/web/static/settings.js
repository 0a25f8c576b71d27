// The settings of a running call: devices, captions, shortcuts.
import { byId } from './dom.js';
import * as devices from './devices.js';
import { fillCaptionSettings } from './caption_settings.js';
import { setShortcuts, shortcutsOn } from './shortcuts.js';

/** Opens the dialog over the call. `changed` is called after each change that shows in the call. */
export async function openSettings(call, captions, changed) {
  for (const kind of ['microphone', 'camera']) {
    const select = byId(`call-${kind}`);
    const live = call.media.getActiveDevice(kind === 'camera' ? 'videoinput' : 'audioinput');
    await devices.fill(select, kind, live || devices.chosen(kind));
    select.onchange = () => {
      devices.choose(kind, select.value);
      return call.useDevice(kind, select.value);
    };
  }
  fillCaptionSettings(captions, changed);
  byId('use-shortcuts').checked = shortcutsOn();
  byId('use-shortcuts').onchange = (event) => setShortcuts(event.target.checked);
  byId('settings').showModal();
}
