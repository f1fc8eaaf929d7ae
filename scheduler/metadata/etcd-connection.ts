/**
 * Calls to an etcd cluster: one channel per member, a deadline for every call, the next member after a
 * failure, and logging in again when the token has run out. It sends nothing twice by itself: whoever
 * calls knows what may be sent again.
 */
import {
  type ChannelCredentials,
  Client,
  credentials as grpcCredentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { StorageError } from '../../shared/base/errors.ts';
import type { EtcdCall, EtcdCalls, EtcdWire } from './etcd-wire.ts';

export interface EtcdAddress {
  /** `host:port` each. */
  readonly servers: readonly string[];
  /** `user:password`; null for none. */
  readonly credentials: string | null;
  /** PEM; null for no TLS. */
  readonly tls: EtcdTls | null;
}

export interface EtcdTls {
  /** null: those that Node trusts. */
  readonly ca: Buffer | null;
  /** Our own, for clusters that want client certificates. */
  readonly certificate: Buffer | null;
  readonly key: Buffer | null;
}

/** What a call that failed says; whether it was done is not known. */
export class EtcdError extends StorageError {
  readonly status: status;

  constructor(code: status, message: string) {
    super('unavailable', message, { status: code });
    this.status = code;
  }
}

/** Largest answer: sixteen nodes of a journal, and room. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

export class EtcdConnection {
  readonly #address: EtcdAddress;
  readonly #wire: EtcdWire;
  readonly #channelCredentials: ChannelCredentials;
  readonly #clients = new Map<string, Client>();
  #at = 0;
  #token: string | null = null;

  constructor(address: EtcdAddress, wire: EtcdWire) {
    this.#address = address;
    this.#wire = wire;
    const { tls } = address;
    this.#channelCredentials =
      tls === null
        ? grpcCredentials.createInsecure()
        : grpcCredentials.createSsl(tls.ca, tls.key, tls.certificate);
  }

  /** Rejects with `EtcdError` (`unavailable`), or `invalid-argument` when etcd does not allow us in. */
  async call<C extends EtcdCall>(
    call: C,
    request: EtcdCalls[C]['request'],
    deadlineMs: number,
  ): Promise<EtcdCalls[C]['response']> {
    for (let attempt = 0; ; attempt += 1) {
      const metadata = await this.#logIn(deadlineMs);
      try {
        return await this.#send(call, request, metadata, deadlineMs);
      } catch (error) {
        // The token has run out: nothing was done yet.
        if (!isTokenRefused(error) || this.#address.credentials === null || attempt > 0) {
          throw this.#failure(call, error);
        }
        this.#token = null;
      }
    }
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  async #logIn(deadlineMs: number): Promise<Metadata> {
    const metadata = new Metadata();
    const { credentials } = this.#address;
    if (credentials === null) return metadata;
    if (this.#token === null) {
      const cut = credentials.indexOf(':');
      const request = { name: credentials.slice(0, cut), password: credentials.slice(cut + 1) };
      try {
        const sent = this.#send('authenticate', request, metadata, deadlineMs);
        this.#token = (await sent).token;
      } catch (error) {
        throw this.#failure('authenticate', error);
      }
    }
    metadata.set('token', this.#token);
    return metadata;
  }

  #send<C extends EtcdCall>(
    call: C,
    request: EtcdCalls[C]['request'],
    metadata: Metadata,
    deadlineMs: number,
  ): Promise<EtcdCalls[C]['response']> {
    const { path, encode, decode } = this.#wire[call];
    const server = this.#address.servers[this.#at % this.#address.servers.length] ?? '';
    const options = { deadline: Date.now() + deadlineMs };
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => {
        // The next call goes to another member, whichever call saw it first.
        if (this.#address.servers[this.#at % this.#address.servers.length] === server) {
          if (isMemberTrouble(error)) this.#at += 1;
        }
        reject(error);
      };
      const client = this.#client(server);
      if (call !== 'keepAlive') {
        client.makeUnaryRequest(
          path,
          encode,
          decode,
          request,
          metadata,
          options,
          (error, value) => {
            if (error !== null) fail(error);
            else if (value === undefined) fail(new Error('no answer'));
            else resolve(value);
          },
        );
        return;
      }
      // etcd knows renewals as a stream only; one question, one answer, and its end.
      const stream = client.makeBidiStreamRequest(path, encode, decode, metadata, options);
      stream.on('data', (value: EtcdCalls[C]['response']) => resolve(value));
      stream.on('error', fail);
      stream.on('end', () => reject(new Error('no answer')));
      stream.write(request);
      stream.end();
    });
  }

  #client(server: string): Client {
    let client = this.#clients.get(server);
    if (client === undefined) {
      client = new Client(server, this.#channelCredentials, {
        'grpc.max_receive_message_length': ANSWER_BYTES_MAX,
        // A member that comes back is used again soon; gRPC's own default goes up to two minutes.
        'grpc.initial_reconnect_backoff_ms': 200,
        'grpc.max_reconnect_backoff_ms': 2_000,
      });
      this.#clients.set(server, client);
    }
    return client;
  }

  #failure(call: EtcdCall, error: unknown): StorageError {
    const { code = status.UNKNOWN, details = String(error) } = error as Partial<ServiceError>;
    const text = `Call "${call}" to etcd ${this.#address.servers.join(',')} failed: ${details} (${status[code]})`;
    if (isRefusal(code, details)) {
      return new StorageError(
        'invalid-argument',
        `${text}; the credentials in the address do not allow it`,
        { status: code },
      );
    }
    return new EtcdError(code, text);
  }
}

function isMemberTrouble(error: Error): boolean {
  const { code } = error as Partial<ServiceError>;
  return code === undefined || code === status.UNAVAILABLE || code === status.DEADLINE_EXCEEDED;
}

function isTokenRefused(error: unknown): boolean {
  const { code, details = '' } = error as Partial<ServiceError>;
  return code === status.UNAUTHENTICATED || details.includes('revision of auth store is old');
}

function isRefusal(code: status, details: string): boolean {
  return (
    code === status.PERMISSION_DENIED ||
    code === status.UNAUTHENTICATED ||
    /authentication failed|user name is empty|authentication is not enabled/.test(details)
  );
}
