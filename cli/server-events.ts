/** Reads a stream of server-sent events: bytes in, events out. Lines may be cut anywhere. */

export interface ServerEvent {
  readonly name: string;
  readonly id: number | null;
  readonly data: string;
}

/** A snapshot of a thousand disks has less than a megabyte; more than this is not ours. */
const LINE_CHARACTERS_MAX = 64 * 1024 * 1024;

/** Ends without an error when the connection is lost: the caller connects again. */
export async function* readServerEvents(
  body: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  let rest = '';
  let fields: string[] = [];
  try {
    for await (const bytes of body) {
      rest += decoder.decode(bytes, { stream: true });
      if (rest.length > LINE_CHARACTERS_MAX) return;
      const lines = rest.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (line !== '') {
          fields.push(line);
          continue;
        }
        const event = parseEvent(fields);
        fields = [];
        if (event !== null) yield event;
      }
    }
  } catch (error) {
    // The connection was cut: an end like any other, unless the reader itself failed.
    if (!signal.aborted && !(error instanceof TypeError)) throw error;
  }
}

function parseEvent(fields: readonly string[]): ServerEvent | null {
  let name = 'message';
  let id: number | null = null;
  const data: string[] = [];
  for (const field of fields) {
    const colon = field.indexOf(':');
    const key = field.slice(0, colon);
    const value = field.slice(colon + 1).replace(/^ /, '');
    if (key === 'event') name = value;
    else if (key === 'id') id = Number(value);
    else if (key === 'data') data.push(value);
  }
  return data.length === 0 ? null : { name, id, data: data.join('\n') };
}
