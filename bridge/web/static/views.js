// One view of the page is shown at a time; the focus moves to its heading, so that keyboard and
// screen reader users arrive where the page now is.
import { byId } from './dom.js';

/** Shows a view. @param {string} title of the browser tab, where it is not the view's heading */
export function show(name, title) {
  for (const view of document.querySelectorAll('main > .view')) view.hidden = view.id !== `view-${name}`;
  document.body.dataset.view = name;
  const heading = byId(`view-${name}`).querySelector('h1');
  document.title = `${title ?? heading.textContent} – Colloque`;
  if (name !== 'wait') heading.focus();
}

/** A full-page problem. @param {(() => void) | null} retry null: going back to the rooms is all there is */
export function showProblem(problem, retry) {
  byId('problem-text').textContent = problem.sentence;
  byId('problem-retry').hidden = !retry;
  byId('problem-retry').onclick = retry;
  show('problem');
}

/** Puts a problem's sentence into a notice beside what it is about; null takes it away. */
export function notice(id, problem) {
  const element = byId(id);
  element.textContent = problem?.sentence ?? '';
  element.hidden = !problem;
}

/** Runs what a button does: the button is off meanwhile, so that a second press does not do it twice. */
export async function once(button, action) {
  if (button.disabled) return;
  button.disabled = true;
  try {
    await action();
  } finally {
    button.disabled = false;
  }
}
