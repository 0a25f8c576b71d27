// How captions look and whether they are read aloud: the same choices in a call and beside one.
import { byId, make } from './dom.js';
import { say } from './i18n.js';
import { CHOICES } from './captions.js';

const SENTENCES = {
  colour: { white: 'captions.white', yellow: 'captions.yellow', cyan: 'captions.cyan', green: 'captions.green' },
  band: { translucent: 'captions.translucent', opaque: 'captions.opaque' },
  position: { bottom: 'captions.bottom', top: 'captions.top' },
};

/** Fills the choices with what is chosen now. `changed` is called after each change. */
export function fillCaptionSettings(captions, changed = () => {}) {
  for (const what of Object.keys(CHOICES)) {
    const select = byId(`caption-${what}`);
    select.replaceChildren(...CHOICES[what].map((value) => option(what, value, captions.choice[what])));
    select.onchange = () => {
      captions.choose(what, select.value);
      changed();
    };
  }
  const announce = byId('caption-announce');
  announce.checked = captions.announced;
  announce.onchange = () => captions.announce(announce.checked);
}

function option(what, value, chosen) {
  const textContent = what === 'size' ? `${value} %` : say(SENTENCES[what][value]);
  return make('option', { value, textContent, selected: value === chosen });
}
