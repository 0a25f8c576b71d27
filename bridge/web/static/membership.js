// One's MatrixRTC membership in the room (MSC4143, as Element Call 0.26 reads it), so that people
// who call from their messaging see and hear those who call from this page. Where the room does not
// allow it, the call goes on without: only Element Call then does not show this participant.
import { MEMBERSHIP, baseAddress } from './matrix.js';

const EXPIRES_MS = 4 * 3600_000; // counted from the first event; renewed an hour before
const RENEW_BEFORE_MS = 3600_000;
// A leave is scheduled ahead and put off as long as the page lives (MSC4140): a browser that
// crashes is out of the room's call after this time.
const LEAVE_AFTER_MS = 15_000;
const PUT_OFF_EVERY_MS = 4_000;

/** @param {{userId: string, deviceId: string}} account */
export function stateKey({ userId, deviceId }) {
  return `_${userId}_${deviceId}_m.call`;
}

/** Content of the state event. @param {number} createdAt 0: now, told by the server */
export function content(account, roomId, serviceUrl, createdAt, expires = EXPIRES_MS) {
  const transport = { type: 'livekit', livekit_alias: roomId, livekit_service_url: baseAddress(serviceUrl) };
  return {
    application: 'm.call',
    call_id: '',
    scope: 'm.room',
    device_id: account.deviceId,
    membershipID: `${account.userId}:${account.deviceId}`,
    expires,
    'm.call.intent': 'video',
    focus_active: { type: 'livekit', focus_selection: 'multi_sfu' },
    foci_preferred: [transport],
    ...(createdAt ? { created_ts: createdAt } : {}),
  };
}

export class Membership {
  constructor(account, roomId, serviceUrl) {
    this.account = account;
    this.roomId = roomId;
    this.serviceUrl = serviceUrl;
    this.key = stateKey(account);
    this.timer = 0;
    this.delayId = '';
    this.createdAt = 0;
    this.expires = EXPIRES_MS;
    this.present = false;
  }

  /** Appears in the room's call. Never throws: a call is possible without. */
  async join() {
    await this.#appear();
    this.#next();
  }

  async #appear() {
    try {
      await this.#scheduleLeave();
      await this.#publish();
      this.createdAt = Date.now();
      this.present = true;
    } catch (problem) {
      console.warn('not shown to Element Call:', problem.key);
    }
  }

  /**
   * Disappears from it. Never throws: what is scheduled, or expires, does it too.
   * @param {boolean} takenOver the same device is in the call from another tab, whose membership
   * this now is: then only the scheduled leave is called off
   */
  async leave(takenOver = false) {
    this.left = true;
    clearTimeout(this.timer);
    if (!this.present) return;
    this.present = false;
    try {
      if (takenOver) await this.#callOff();
      else if (this.delayId) await this.account.delayed(this.delayId, 'send');
      else await this.account.setState(this.roomId, MEMBERSHIP, this.key, {});
    } catch (problem) {
      console.warn('membership left to its expiry:', problem.key);
    }
  }

  async #callOff() {
    if (this.delayId) await this.account.delayed(this.delayId, 'cancel');
  }

  #publish() {
    const { account, roomId, serviceUrl, createdAt, expires } = this;
    return account.setState(roomId, MEMBERSHIP, this.key, content(account, roomId, serviceUrl, createdAt, expires));
  }

  async #scheduleLeave() {
    const query = `?org.matrix.msc4140.delay=${LEAVE_AFTER_MS}`;
    try {
      const answer = await this.account.setState(this.roomId, MEMBERSHIP, this.key, {}, query);
      this.delayId = answer.delay_id ?? '';
    } catch (problem) {
      this.delayId = ''; // this homeserver delays nothing: a crash is noticed when it expires
      if (problem.key === 'sessionExpired') throw problem;
    }
  }

  #next() {
    if (this.present && !this.left) this.timer = setTimeout(() => this.#keep().finally(() => this.#next()), PUT_OFF_EVERY_MS);
  }

  async #keep() {
    try {
      if (this.delayId) await this.account.delayed(this.delayId, 'restart');
      if (Date.now() > this.createdAt + this.expires - RENEW_BEFORE_MS) {
        this.expires += EXPIRES_MS;
        await this.#publish();
      }
    } catch (problem) {
      // 404: it was sent, because this page slept or was cut off too long. So appear again.
      if (problem.cause?.status === 404 && this.present) {
        this.present = false;
        this.createdAt = 0;
        await this.#appear();
      }
    }
  }
}
