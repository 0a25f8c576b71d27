// Every failure the page can meet, as a sentence that says what to do (fr.js and en.js,
// keys `problem.*`). Nothing here shows a server's own text: it is neither translated nor trusted.
import { say } from './i18n.js';
import { HttpFailure } from './http.js';

export class Problem extends Error {
  constructor(key, values = {}, options = {}) {
    super(key, options);
    this.key = key;
    this.values = values;
  }

  get sentence() {
    return say(`problem.${this.key}`, this.values);
  }
}

/** Whatever was thrown, as a Problem. */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  console.error(error);
  return new Problem('unexpected', { detail: error?.name ?? 'Error' }, { cause: error });
}

const BY_STATUS = {
  login: { 401: 'wrongPassword', 403: 'wrongPassword', 400: 'wrongPassword' },
  homeserver: { 401: 'sessionExpired', 403: 'notMember', 404: 'notMember' },
  token: { 401: 'identityRefused', 403: 'notMember' },
  page: {},
  archive: { 400: 'badQuery', 401: 'sessionExpired', 403: 'serverRefused', 404: 'notYours' },
};
const BY_REASON = {
  call_ended: 'callEnded',
  full: 'callFull',
  locked: 'callLocked',
  no_bot: 'noBot',
  removed: 'putOut',
  room_closed: 'roomReplaced',
  server_not_admitted: 'serverRefused',
  waiting: 'waiting',
};
const AWAY = { login: 'homeserverAway', homeserver: 'homeserverAway', token: 'callsAway', page: 'pageAway', archive: 'archiveAway' };

/** What an HttpFailure of a service (`login`, `homeserver`, `token`, `page`, `archive`) means to a person. */
export function ofHttp(error, service) {
  if (!(error instanceof HttpFailure)) return asProblem(error);
  const cause = { cause: error };
  if (error.errcode === 'M_USER_DEACTIVATED') return new Problem('deactivated', {}, cause);
  if (error.status === 429) {
    return new Problem('tooMany', { seconds: Math.ceil(error.retryAfterMs / 1000) || 30 }, cause);
  }
  if (error.status === 0 || error.status >= 500) return new Problem(AWAY[service], {}, cause);
  const key = (service === 'token' && BY_REASON[error.reason]) || BY_STATUS[service][error.status];
  return key ? new Problem(key, {}, cause) : new Problem('unexpected', { detail: error.message }, cause);
}

const DEVICE_PROBLEMS = {
  NotAllowedError: 'Refused',
  SecurityError: 'Refused',
  NotFoundError: 'Missing',
  OverconstrainedError: 'Missing',
  NotReadableError: 'Busy',
  AbortError: 'Busy',
};

/** A getUserMedia failure. @param {'camera'|'microphone'} kind */
export function ofDevice(error, kind) {
  if (!navigator.mediaDevices) return new Problem('insecurePage');
  const suffix = DEVICE_PROBLEMS[error?.name];
  return suffix ? new Problem(kind + suffix, {}, { cause: error }) : asProblem(error);
}
