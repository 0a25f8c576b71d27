// JSON over fetch, with a time limit on the whole exchange and one kind of error.

export class HttpFailure extends Error {
  /** @param {number} status 0 where no answer came (network, name, certificate, time limit, CORS) */
  constructor(status, body = {}, options = {}) {
    super(`HTTP ${status} ${body.errcode ?? ''}`.trim(), options);
    this.status = status;
    this.errcode = typeof body.errcode === 'string' ? body.errcode : '';
    /** Why our token service refuses, as a word (docs/protocol.md). */
    this.reason = typeof body['eu.colloque.reason'] === 'string' ? body['eu.colloque.reason'] : '';
    this.retryAfterMs = Number(body.retry_after_ms) || 0;
  }
}

const TIME_LIMIT_MS = 15_000;

/**
 * Asks and returns the JSON object of a 2xx answer; everything else is an HttpFailure.
 * @param {AbortSignal} [options.stop] gives the exchange up
 */
export async function requestJson(url, { method = 'GET', token, body, limitMs = TIME_LIMIT_MS, stop } = {}) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const [status, text] = await exchange(url, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: stop ? AbortSignal.any([stop, AbortSignal.timeout(limitMs)]) : AbortSignal.timeout(limitMs),
    credentials: 'omit',
    cache: 'no-store',
    referrerPolicy: 'no-referrer',
  });
  const data = parsed(text);
  if (status < 200 || status > 299) throw new HttpFailure(status, data ?? {});
  if (data === null) throw new HttpFailure(502);
  return data;
}

async function exchange(url, options) {
  try {
    const response = await fetch(url, options);
    return [response.status, await response.text()];
  } catch (error) {
    throw new HttpFailure(0, {}, { cause: error });
  }
}

function parsed(text) {
  try {
    const data = JSON.parse(text);
    return typeof data === 'object' ? data : null;
  } catch {
    return null;
  }
}
