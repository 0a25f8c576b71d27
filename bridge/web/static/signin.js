// Signing in: password and single sign-on, at this site's homeserver or another organisation's.
import { byId, make } from './dom.js';
import { say } from './i18n.js';
import { asProblem } from './problems.js';
import { beginSso } from './session.js';
import { discover, logIn, loginMethods, ssoAddress } from './matrix.js';
import { notice, once, show } from './views.js';

/**
 * Shows the form. @param {{homeserver: string, server_name: string, other_servers: boolean}} config
 * @param {(session) => void} signedIn @param {import('./problems.js').Problem | null} because why one must sign in (again)
 */
export async function showSignIn(config, signedIn, because = null) {
  wireServerForm(signedIn);
  byId('server-change').hidden = !config.other_servers;
  byId('password-form').hidden = true;
  byId('sso').hidden = true;
  show('sign-in');
  await useServer(config.homeserver, config.server_name, signedIn);
  if (because) notice('sign-in-problem', because);
}

function wireServerForm(signedIn) {
  byId('server-form').hidden = true;
  byId('server-change').onclick = () => {
    byId('server-form').hidden = false;
    byId('server').focus();
  };
  byId('server-form').onsubmit = (event) => {
    event.preventDefault();
    const name = byId('server').value.trim().replace(/^@[^:]*:/, '');
    void once(event.submitter, async () => {
      try {
        await useServer(await discover(name), name, signedIn);
        byId('server-form').hidden = true;
      } catch (error) {
        notice('sign-in-problem', asProblem(error));
      }
    });
  };
}

async function useServer(homeserver, name, signedIn) {
  notice('sign-in-problem', null);
  byId('server-name').textContent = name;
  byId('password-form').onsubmit = (event) => {
    event.preventDefault();
    void once(byId('sign-in'), () => submitPassword(homeserver, signedIn));
  };
  try {
    const methods = await loginMethods(homeserver);
    byId('password-form').hidden = !methods.password;
    showSso(homeserver, methods);
    if (!methods.password && !methods.sso) byId('sso').append(say('signIn.none'));
  } catch (error) {
    notice('sign-in-problem', asProblem(error));
    byId('sso').replaceChildren(retryButton(homeserver, name, signedIn));
    byId('sso').hidden = false;
  }
}

function retryButton(homeserver, name, signedIn) {
  const button = make('button', { type: 'button', className: 'primary', textContent: say('retry') });
  button.onclick = () => once(button, () => useServer(homeserver, name, signedIn));
  return button;
}

async function submitPassword(homeserver, signedIn) {
  notice('sign-in-problem', null);
  try {
    const session = await logIn(homeserver, byId('user').value.trim(), byId('password').value);
    byId('password').value = '';
    signedIn(session);
  } catch (error) {
    notice('sign-in-problem', asProblem(error));
    byId('password').focus();
  }
}

function showSso(homeserver, { sso, providers }) {
  const offers = providers.length ? providers : sso ? [{ id: '', name: '' }] : [];
  const buttons = offers.map(({ id, name }) => {
    const text = name ? say('signIn.sso', { provider: name }) : say('signIn.ssoOnly');
    const button = make('button', { type: 'button', className: 'primary', textContent: text });
    button.onclick = () => goToSso(homeserver, id);
    return button;
  });
  byId('sso').replaceChildren(...buttons);
  byId('sso').hidden = !sso && offers.length === 0;
}

function goToSso(homeserver, providerId) {
  const state = beginSso(homeserver, location.hash);
  const back = new URL(location.href);
  back.hash = '';
  back.search = new URLSearchParams({ sso: state }).toString();
  location.assign(ssoAddress(homeserver, providerId, back.href));
}
