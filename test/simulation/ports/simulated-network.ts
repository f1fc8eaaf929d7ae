/**
 * A network of named hosts on the simulated clock. Frames of one direction of a connection arrive in
 * order after a random delay. Faults: a blocked direction between two hosts swallows everything in
 * silence (nobody is told until a ping goes unanswered), a crashed host resets its connections, a
 * dead one (power) says nothing. `local:` addresses connect inside one host, as in production.
 *
 * A received body is scribbled over when the handler returns, as a reused receive buffer would be:
 * code that keeps a body without `takeBody` fails here.
 */

import { StorageError } from '../../../shared/base/errors.ts';
import type { Prng } from '../../../shared/base/prng.ts';
import { LOCAL_PREFIX, LocalNetwork } from '../../../shared/node/local-network.ts';
import type {
  Clock,
  Connection,
  ConnectionHandlers,
  Listener,
  Network,
  Timer,
} from '../../../shared/ports.ts';
import { bodyBytesOf, SMALL_BODY_BYTES_MAX } from '../../../shared/wire/data-codec.ts';
import { DataFrame } from '../../../shared/wire/data-protocol.ts';

export interface SimulatedNetworkOptions {
  readonly delayMsMin: number;
  readonly delayMsMax: number;
  /** As the TCP adapter's: a connect that nobody answers fails after so long. */
  readonly connectDeadlineMs: number;
}

export const DEFAULT_NETWORK: SimulatedNetworkOptions = {
  delayMsMin: 0.05,
  delayMsMax: 0.5,
  connectDeadlineMs: 3_000,
};

/** How often a blocked direction is tried again, as a sender's retransmission would. */
const RETRANSMIT_MS = 50;

type Accept = (connection: Connection) => ConnectionHandlers;

export class SimulatedNetwork {
  readonly clock: Clock;
  readonly random: Prng;
  options: SimulatedNetworkOptions;
  readonly hosts = new Map<string, SimulatedHost>();
  readonly #blocked = new Set<string>();

  constructor(clock: Clock, random: Prng, options: SimulatedNetworkOptions = DEFAULT_NETWORK) {
    this.clock = clock;
    this.random = random;
    this.options = options;
  }

  /** The network as the processes of `name` see it; made on first use. */
  host(name: string): SimulatedHost {
    const known = this.hosts.get(name);
    if (known !== undefined) return known;
    const host = new SimulatedHost(this, name);
    this.hosts.set(name, host);
    return host;
  }

  /** From now on nothing that `from` sends reaches `to`. One way only. */
  block(from: string, to: string): void {
    this.#blocked.add(`${from}>${to}`);
  }

  unblock(from: string, to: string): void {
    this.#blocked.delete(`${from}>${to}`);
  }

  partition(a: string, b: string): void {
    this.block(a, b);
    this.block(b, a);
  }

  healAll(): void {
    this.#blocked.clear();
  }

  isBlocked(from: string, to: string): boolean {
    return this.#blocked.has(`${from}>${to}`);
  }

  delayMs(): number {
    const { delayMsMin, delayMsMax } = this.options;
    return delayMsMin + this.random.fraction() * (delayMsMax - delayMsMin);
  }
}

export class SimulatedHost implements Network {
  readonly name: string;
  readonly #network: SimulatedNetwork;
  readonly listeners = new Map<number, Accept>();
  readonly ends = new Set<SimulatedEnd>();
  /** False from a silent crash until something listens again: nothing answers, not even a reset. */
  isUp = true;
  #local: LocalNetwork;
  /** What arrives while the host's process is stopped; null while it runs. */
  #held: (() => void)[] | null = null;
  #nextPort = 7400;

  constructor(network: SimulatedNetwork, name: string) {
    this.name = name;
    this.#network = network;
    this.#local = this.#makeLocal();
  }

  connect(address: string, handlers: ConnectionHandlers): Connection {
    if (address.startsWith(LOCAL_PREFIX)) return this.#local.connect(address, handlers);
    const [name = '', port = ''] = address.split(':');
    const near = new SimulatedEnd(this.#network, this, name, address);
    near.handlers = handlers;
    near.openTo(Number(port));
    return near;
  }

  listen(address: string, accept: Accept): Promise<Listener> {
    if (address.startsWith(LOCAL_PREFIX)) return this.#local.listen(address, accept);
    const asked = Number(address.split(':')[1]);
    const port = asked === 0 ? this.#nextPort++ : asked;
    if (this.listeners.has(port)) {
      return Promise.reject(
        new StorageError('unavailable', `Listen on "${address}": the port is in use`),
      );
    }
    this.isUp = true;
    this.listeners.set(port, accept);
    return Promise.resolve({
      address: `${this.name}:${port}`,
      close: () => {
        if (this.listeners.get(port) !== accept) return;
        this.listeners.delete(port);
        for (const end of [...this.ends]) {
          if (end.localPort === port) end.close('The listener was closed');
        }
      },
    });
  }

  /** Every process of the host is gone. `isSilent`: like power loss, the others are not told. */
  crash(isSilent: boolean): void {
    this.#held = null;
    this.listeners.clear();
    this.isUp = !isSilent;
    for (const end of [...this.ends]) end.vanish(isSilent);
    this.#local = this.#makeLocal();
  }

  /** The process of the host is stopped: what arrives waits in its sockets. */
  stop(): void {
    this.#held ??= [];
  }

  goOn(): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const action of held) this.deliver(action);
  }

  /** Hands something that arrived to the process, at once or when it goes on. */
  deliver(action: () => void): void {
    if (this.#held === null) action();
    else this.#held.push(action);
  }

  /** Resets every connection between this host and `other`. */
  cut(other: string): void {
    for (const end of [...this.ends]) if (end.remoteHost === other) end.close('Connection reset');
  }

  #makeLocal(): LocalNetwork {
    return new LocalNetwork((action) => {
      this.#network.clock.after(0, () => this.deliver(action));
    });
  }
}

class SimulatedEnd implements Connection {
  readonly peer: string;
  readonly remoteHost: string;
  handlers: ConnectionHandlers | null = null;
  other: SimulatedEnd | null = null;
  localPort = 0;
  queuedBytes = 0;
  readonly #network: SimulatedNetwork;
  readonly #host: SimulatedHost;
  /** Frames sent before the connection stood. */
  #waiting: DataFrame[] = [];
  #deadline: Timer | null = null;
  #lastArrivalMs = 0;
  #stalled: (() => void)[] = [];
  #isClosed = false;

  constructor(network: SimulatedNetwork, host: SimulatedHost, remoteHost: string, peer: string) {
    this.#network = network;
    this.#host = host;
    this.remoteHost = remoteHost;
    this.peer = peer;
    host.ends.add(this);
  }

  openTo(port: number): void {
    const network = this.#network;
    this.#deadline = network.clock.after(network.options.connectDeadlineMs, () => {
      this.#end('No connection in time');
    });
    this.#travel(() => {
      const target = network.hosts.get(this.remoteHost);
      const accept = target?.listeners.get(port);
      if (target === undefined || !target.isUp) return;
      if (accept === undefined) {
        this.#answer(() => this.#end('Connection refused'));
        return;
      }
      target.deliver(() => this.#accepted(target, port, accept));
    });
  }

  #accepted(target: SimulatedHost, port: number, accept: Accept): void {
    const far = new SimulatedEnd(this.#network, target, this.#host.name, `${this.#host.name}:0`);
    far.localPort = port;
    far.other = this;
    far.handlers = accept(far);
    this.#answer(() => this.#connected(far));
  }

  send(frame: DataFrame): void {
    if (this.#isClosed) return;
    const copy = copyOf(frame);
    const far = this.other;
    if (far === null) {
      this.#waiting.push(copy);
      return;
    }
    this.queuedBytes += bodyBytesOf(copy);
    this.#travel(() => far.#receive(copy));
    this.#network.clock.after(this.#network.options.delayMsMin, () => {
      this.queuedBytes -= bodyBytesOf(copy);
    });
  }

  close(reason: string): void {
    if (this.#isClosed) return;
    const far = this.other;
    if (far !== null) this.#travel(() => far.#end('The other side closed the connection'));
    this.#end(reason);
  }

  /** The process of this end is gone: its handlers hear nothing any more. */
  vanish(isSilent: boolean): void {
    const far = this.other;
    this.handlers = null;
    if (far !== null && !isSilent) this.#travel(() => far.#end('Connection reset'));
    this.#end('The process is gone');
  }

  #connected(far: SimulatedEnd): void {
    if (this.#isClosed) return;
    this.#deadline?.cancel();
    this.other = far;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const frame of waiting) this.send(frame);
  }

  #receive(frame: DataFrame): void {
    this.#host.deliver(() => this.#take(frame));
  }

  #take(frame: DataFrame): void {
    if (this.#isClosed) {
      // A machine that came back knows nothing of its old connections and resets them.
      const far = this.other;
      if (this.#host.isUp && far !== null) this.#travel(() => far.#end('Connection reset'));
      return;
    }
    this.handlers?.onFrame(frame);
    // Kept bodies are copies by now (takeBody cleared the mark).
    if (!frame.isBodyTransient) return;
    frame.data?.fill(0xdb);
    frame.checksums?.fill(0xdb);
  }

  #end(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#deadline?.cancel();
    this.#host.ends.delete(this);
    this.#network.clock.after(0, () => {
      this.#host.deliver(() => this.handlers?.onClose(reason));
    });
  }

  /** In order after the one before, unless the way is blocked by then. */
  #travel(action: () => void): void {
    this.#schedule(this.#host.name, this.remoteHost, action);
  }

  #answer(action: () => void): void {
    this.#schedule(this.remoteHost, this.#host.name, action);
  }

  #schedule(from: string, to: string, action: () => void): void {
    const { clock } = this.#network;
    const now = clock.now();
    const arrival = Math.max(now + this.#network.delayMs(), this.#lastArrivalMs);
    this.#lastArrivalMs = arrival;
    clock.after(arrival - now, () => {
      if (this.#stalled.length > 0 || this.#network.isBlocked(from, to)) {
        this.#stall(from, to, action);
      } else action();
    });
  }

  /** TCP repeats what was lost: behind a blockage everything waits, in order. */
  #stall(from: string, to: string, action: () => void): void {
    this.#stalled.push(action);
    if (this.#stalled.length > 1) return;
    const retry = (): void => {
      if (this.#network.isBlocked(from, to)) {
        if (!this.#isClosed) this.#network.clock.after(RETRANSMIT_MS, retry);
        return;
      }
      const waiting = this.#stalled;
      this.#stalled = [];
      for (const held of waiting) held();
    };
    this.#network.clock.after(RETRANSMIT_MS, retry);
  }
}

/** What the far side gets: its own memory, marked as a receive buffer would be. */
function copyOf(frame: DataFrame): DataFrame {
  const copy = Object.assign(new DataFrame(), frame);
  copy.checksums = frame.checksums === null ? null : Uint8Array.from(frame.checksums);
  copy.data = frame.data === null ? null : Buffer.from(frame.data);
  copy.isBodyTransient = bodyBytesOf(copy) <= SMALL_BODY_BYTES_MAX;
  return copy;
}
