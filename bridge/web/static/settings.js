// The settings of a running call: devices, captions, shortcuts.
import { byId, make } from './dom.js';
import * as devices from './devices.js';
import { Captions } from './captions.js';
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
  fillSizes(captions, changed);
  byId('caption-announce').checked = captions.announced;
  byId('caption-announce').onchange = (event) => captions.announce(event.target.checked);
  byId('use-shortcuts').checked = shortcutsOn();
  byId('use-shortcuts').onchange = (event) => setShortcuts(event.target.checked);
  byId('settings').showModal();
}

function fillSizes(captions, changed) {
  const select = byId('caption-size');
  select.replaceChildren(
    ...Captions.sizes().map((size) =>
      make('option', { value: size, textContent: `${size} %`, selected: size === captions.size }),
    ),
  );
  select.onchange = () => {
    captions.setSize(Number(select.value));
    changed();
  };
}
