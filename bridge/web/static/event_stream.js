// Server-sent events out of a fetch (HTML, "Server-sent events"): EventSource can send no session in
// a header, and an address would show it to every log on the way.

/** @param {ReadableStream<Uint8Array>} body @param {() => void} alive called whenever anything comes */
export async function* eventsOf(body, alive = () => {}) {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of pieces(body)) {
    alive();
    rest += decoder.decode(bytes, { stream: true });
    const blocks = rest.split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const event = read(block);
      if (event) yield event;
    }
  }
}

/** One block: {event, data, id}; null for a comment, or what cannot be read. */
function read(block) {
  const fields = {};
  for (const line of block.split(/\r?\n/)) {
    const [, name, value] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
    if (name) fields[name] = fields[name] === undefined ? value : `${fields[name]}\n${value}`;
  }
  if (fields.data === undefined) return null;
  try {
    return { event: fields.event ?? 'message', data: JSON.parse(fields.data), id: fields.id ?? '' };
  } catch {
    return null;
  }
}

/** A stream as an async iterator: Safari's streams are none by themselves. */
async function* pieces(body) {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
