// A Matrix client’s side of a widget (matrix-widget-api, as Element Web has it). The address says how
// its user decides on get_openid: allowed, blocked, later (asked first, then allowed), silent.
const { ClientWidgetApi, OpenIDRequestState, Widget, WidgetDriver } = mxwidgets(); // the bundle is a function
const query = new URLSearchParams(location.search);
const decision = query.get('decision');

class Driver extends WidgetDriver {
  async validateCapabilities(requested) {
    globalThis.requested = [...requested];
    return requested;
  }

  askOpenID(observer) {
    const token = { access_token: 'openid', token_type: 'Bearer', matrix_server_name: 'essai.example', expires_in: 3600 };
    globalThis.askedOpenId = (globalThis.askedOpenId ?? 0) + 1;
    if (decision === 'allowed') observer.update({ state: OpenIDRequestState.Allowed, token });
    if (decision === 'blocked') observer.update({ state: OpenIDRequestState.Blocked });
    if (decision === 'later') {
      observer.update({ state: OpenIDRequestState.PendingUserConfirmation });
      globalThis.allow = () => observer.update({ state: OpenIDRequestState.Allowed, token });
    }
  }
}

const widget = new Widget({ id: 'captions', creatorUserId: '@bot:essai.example', type: 'm.custom', url: query.get('url'), waitForIframeLoad: true });
const frame = document.getElementById('widget');
const url = new URL(widget.getCompleteUrl({
  currentUserId: '@alice:essai.example',
  widgetRoomId: query.get('room'),
  clientTheme: 'dark',
  clientLanguage: query.get('lang') ?? 'fr',
  userDisplayName: 'Alice',
}));
url.searchParams.set('widgetId', 'captions');
url.searchParams.set('parentUrl', location.href.split('#')[0]);
globalThis.api = new ClientWidgetApi(widget, frame, new Driver());
frame.src = url.toString();
