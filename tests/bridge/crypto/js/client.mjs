// A Matrix client with Element's Rust crypto, driven by a test: one JSON object a line, both ways.
// In: {"id", "op", ...}. Out: {"id", "answer"} or {"id", "error"}, and {"event", ...} as it comes.
import { createInterface } from "node:readline";

// The SDK talks; the driver reads standard output.
for (const level of ["log", "info", "debug", "warn", "trace"]) {
  console[level] = (...args) => process.stderr.write(`${args.map(String).join(" ")}\n`);
}
const { createClient, ClientEvent, MatrixEventEvent } = await import("matrix-js-sdk");
const { OnlySignedDevicesIsolationMode } = await import("matrix-js-sdk/lib/crypto-api/index.js");
const { MatrixRTCSessionEvent } = await import("matrix-js-sdk/lib/matrixrtc/index.js");
const { decryptAttachment } = await import("./attachment.mjs");

const out = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
let client;

async function shield(event) {
  const info = await client.getCrypto().getEncryptionInfoForEvent(event);
  return info && { colour: info.shieldColour, reason: info.shieldReason };
}

async function tell(event) {
  if (event.isState() || event.getSender() === client.getUserId()) return;
  out({
    event: "message",
    room: event.getRoomId(),
    event_id: event.getId(),
    sender: event.getSender(),
    type: event.getType(),
    wire_type: event.getWireType(),
    wire_content: event.getWireContent(),
    content: event.getContent(),
    failure: event.isDecryptionFailure() ? String(event.decryptionFailureReason) : null,
    shield: event.isEncrypted() && !event.isDecryptionFailure() ? await shield(event) : null,
  });
}

function listen() {
  client.on(ClientEvent.Event, (event) => {
    if (!event.isEncrypted()) tell(event);
  });
  client.on(MatrixEventEvent.Decrypted, (event) => tell(event));
  client.on(ClientEvent.ReceivedToDeviceMessage, ({ message, encryptionInfo }) => {
    out({ event: "to_device", type: message.type, sender: message.sender, content: message.content, encryption: encryptionInfo });
  });
}

const operations = {
  async start({ homeserver, user, device, token, password }) {
    client = createClient({ baseUrl: homeserver, userId: user, deviceId: device, accessToken: token });
    await client.initRustCrypto({ useIndexedDB: false });
    const auth = { type: "m.login.password", identifier: { type: "m.id.user", user }, password };
    await client.getCrypto().bootstrapCrossSigning({
      authUploadDeviceSigningKeys: async (request) => {
        try {
          await request(null);
        } catch (error) {
          await request({ ...auth, session: error.data?.session });
        }
      },
    });
    client.getCrypto().setDeviceIsolationMode(new OnlySignedDevicesIsolationMode());
    listen();
    const ready = new Promise((resolve) => client.on(ClientEvent.Sync, (state) => state === "PREPARED" && resolve()));
    await client.startClient({ initialSyncLimit: 50 });
    await ready;
    return { device: client.getDeviceId() };
  },
  async send({ room, type = "m.room.message", content }) {
    return await client.sendEvent(room, type, content);
  },
  async rooms() {
    return client.getRooms().map((room) => ({ id: room.roomId, encrypted: room.hasEncryptionStateEvent(), joined: room.getJoinedMembers().map((m) => m.userId) }));
  },
  async to_device({ user, device, type, content }) {
    const crypto = client.getCrypto();
    await crypto.getUserDeviceInfo([user], true);
    const batch = await crypto.encryptToDeviceMessages(type, [{ userId: user, deviceId: device }], content);
    await client.queueToDevice(batch);
    return batch.batch.length;
  },
  async devices({ user }) {
    const known = await client.getCrypto().getUserDeviceInfo([user], true);
    const all = [...(known.get(user)?.values() ?? [])];
    return await Promise.all(
      all.map(async (device) => ({
        id: device.deviceId,
        ...(await client.getCrypto().getDeviceVerificationStatus(user, device.deviceId)),
      })),
    );
  },
  async discard({ room }) {
    await client.getCrypto().forceDiscardSession(room);
  },
  // The room's call as Element Call takes part in it, media keys included; `service` is the token service.
  async join_call({ room, service }) {
    const session = client.matrixRTC.getRoomSession(client.getRoom(room));
    session.on(MatrixRTCSessionEvent.EncryptionKeyChanged, (key, index, _member, identity) =>
      out({ event: "media_key", room, identity, index, key: Buffer.from(key).toString("base64") }),
    );
    const [userId, deviceId] = [client.getUserId(), client.getDeviceId()];
    const focus = { type: "livekit", livekit_service_url: service, livekit_alias: room };
    session.joinRTCSession(
      { userId, deviceId, memberId: `${userId}:${deviceId}` },
      [focus],
      { type: "livekit", focus_selection: "multi_sfu" },
      { callIntent: "audio", manageMediaKeys: true },
    );
  },
  async call_members({ room }) {
    return client.matrixRTC.getRoomSession(client.getRoom(room)).memberships.map((one) => one.sender);
  },
  async leave_call({ room }) {
    await client.matrixRTC.getRoomSession(client.getRoom(room)).leaveRoomSession(5000);
  },
  async file({ file }) {
    const url = client.mxcUrlToHttp(file.url, undefined, undefined, undefined, undefined, undefined, true);
    const answer = await fetch(url, { headers: { authorization: `Bearer ${client.getAccessToken()}` } });
    const data = new Uint8Array(await answer.arrayBuffer());
    return { sealed: Buffer.from(data).toString("base64"), text: Buffer.from(await decryptAttachment(data, file)).toString() };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, op, ...given } = JSON.parse(line);
  // Not awaited: a slow answer must not hold up the next request.
  operations[op](given).then(
    (answer) => out({ id, answer: answer ?? null }),
    (error) => out({ id, error: `${error?.stack ?? error}` }),
  );
}
process.exit(0);
