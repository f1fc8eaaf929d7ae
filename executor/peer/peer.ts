/**
 * One replica server as a client sees it: a connection that is opened again whenever it is lost, the
 * hello exchange, pings, and the table of requests that wait for a reply. It knows nothing of what
 * the requests mean. Used by gateways and by resync.
 *
 * A request is answered exactly once: with the reply, or with `onLost` when the connection ended
 * first (it may or may not have been carried out). Nothing is sent again from here.
 */
import { assert } from '../../shared/base/assert.ts';
import type { NodeId } from '../../shared/base/ids.ts';
import type { Clock, Connection, Log, Network, Timer } from '../../shared/ports.ts';
import { DATA_VERSION, DataFrame, FLAG, OP } from '../../shared/wire/data-protocol.ts';
import { encodeHello, readHello } from './hello.ts';

/** Whoever waits for a reply; `token` comes back as it was given. */
export interface ReplyTarget {
  /** The frame is valid until this returns. */
  onReply(frame: DataFrame, token: number): void;
  onLost(token: number, reason: string): void;
}

export interface PeerOptions {
  readonly clusterId: string;
  readonly self: NodeId;
  /** The node behind `address`, checked against its hello. */
  readonly node: NodeId;
  readonly address: string;
}

export interface PeerModules {
  readonly network: Network;
  readonly clock: Clock;
  readonly log: Log;
}

export interface PeerListener {
  onPeerReady(peer: Peer): void;
  /** After every waiting request has heard `onLost`. */
  onPeerLost(peer: Peer): void;
}

/** Sent when nothing was heard for so long; a peer silent for `SILENCE_MS_MAX` is given up. */
const PING_MS = 1_000;
/** Three unanswered pings; together with detection by the lease this stays below five seconds. */
const SILENCE_MS_MAX = 3_500;
/** The first attempt is immediate; then a restarted server is found within a tenth of a second or so. */
const RECONNECT_MS_MIN = 20;
const RECONNECT_MS_MAX = 500;
/** Requests waiting at one peer. Gateways are bounded by their clients, far below this. */
export const PEER_REQUESTS_MAX = 65_536;
const SLOT_MASK = 0xffff;
/** Ids have 31 bits: larger ones are no small integers to the engine, and every one would be an allocation. */
const TURN_MASK = 0x7fff;

type PeerState = 'waiting' | 'connecting' | 'ready' | 'closed';

export class Peer {
  readonly node: NodeId;
  readonly address: string;
  readonly isLocal: boolean;
  /** Requests sent and not answered: the load as far as this client can see. */
  outstanding = 0;
  /** Why it is not ready; empty while it is. */
  lastError = 'Not connected yet';
  /** Since when it is not ready, on the clock. */
  downSinceMs: number;
  readonly #options: PeerOptions;
  readonly #modules: PeerModules;
  readonly #listener: PeerListener;
  #state: PeerState = 'waiting';
  #connection: Connection | null = null;
  /** Tells the handlers of an earlier connection from the current one's. */
  #attempt = 0;
  #reconnectMs = 0;
  #timer: Timer | null = null;
  #lastHeardMs = 0;
  readonly #targets: (ReplyTarget | null)[] = [];
  readonly #tokens: number[] = [];
  /** Full request ids by slot: a late reply to an earlier user of the slot is told apart. */
  readonly #ids: number[] = [];
  readonly #freeSlots: number[] = [];
  #turn = 0;

  constructor(options: PeerOptions, modules: PeerModules, listener: PeerListener) {
    this.node = options.node;
    this.address = options.address;
    this.isLocal = options.address.startsWith('local:');
    this.downSinceMs = modules.clock.now();
    this.#options = options;
    this.#modules = modules;
    this.#listener = listener;
    this.#connect();
  }

  get isReady(): boolean {
    return this.#state === 'ready';
  }

  get queuedBytes(): number {
    return this.#connection === null ? 0 : this.#connection.queuedBytes;
  }

  /** Sends a request, whose id is set here. Returns false, and does nothing, when it cannot now. */
  send(frame: DataFrame, target: ReplyTarget, token: number): boolean {
    const connection = this.#connection;
    if (this.#state !== 'ready' || connection === null) return false;
    let slot = this.#freeSlots.pop();
    if (slot === undefined) {
      slot = this.#targets.length;
      if (slot >= PEER_REQUESTS_MAX) return false;
    }
    this.#turn = (this.#turn + 1) & TURN_MASK;
    const id = (this.#turn << 16) | slot;
    this.#targets[slot] = target;
    this.#tokens[slot] = token;
    this.#ids[slot] = id;
    this.outstanding += 1;
    frame.requestId = id;
    connection.send(frame);
    return true;
  }

  /** Every waiting request hears `onLost`; no reconnection. */
  close(reason: string): void {
    if (this.#state === 'closed') return;
    this.#drop(reason);
    this.#state = 'closed';
  }

  #connect(): void {
    this.#state = 'connecting';
    this.#attempt += 1;
    const attempt = this.#attempt;
    const { network, clock } = this.#modules;
    this.#lastHeardMs = clock.now();
    const connection = network.connect(this.address, {
      onFrame: (frame) => {
        if (attempt === this.#attempt) this.#onFrame(frame);
      },
      onClose: (reason) => {
        if (attempt === this.#attempt) this.#lose(reason);
      },
    });
    this.#connection = connection;
    const { clusterId, self } = this.#options;
    connection.send(encodeHello({ clusterId, node: self, protocol: DATA_VERSION }, false));
    this.#watch();
  }

  /** Pings a quiet peer and gives up a silent one. */
  #watch(): void {
    this.#timer?.cancel();
    this.#timer = this.#modules.clock.after(PING_MS, () => {
      const silentMs = this.#modules.clock.now() - this.#lastHeardMs;
      if (silentMs >= SILENCE_MS_MAX) {
        this.#lose(`Nothing heard from "${this.address}" for ${Math.round(silentMs)} ms`);
        return;
      }
      if (silentMs >= PING_MS / 2 && this.#state === 'ready') {
        const ping = new DataFrame();
        ping.op = OP.ping;
        this.#connection?.send(ping);
      }
      this.#watch();
    });
  }

  #onFrame(frame: DataFrame): void {
    this.#lastHeardMs = this.#modules.clock.now();
    if ((frame.flags & FLAG.reply) === 0) {
      this.#lose(`Peer sent a request with op ${frame.op}`);
      return;
    }
    if (this.#state === 'connecting') {
      this.#onHello(frame);
      return;
    }
    if (frame.op === OP.ping) return;
    const slot = frame.requestId & SLOT_MASK;
    const target = this.#targets[slot];
    if (target === undefined || target === null || this.#ids[slot] !== frame.requestId) {
      this.#lose(`Peer answered request ${frame.requestId}, which nobody asked`);
      return;
    }
    const token = this.#tokens[slot] as number;
    this.#targets[slot] = null;
    this.#freeSlots.push(slot);
    this.outstanding -= 1;
    target.onReply(frame, token);
  }

  #onHello(frame: DataFrame): void {
    const hello = readHello(frame);
    const { clusterId, node } = this.#options;
    if (hello === null) {
      this.#lose('Peer did not begin with a valid hello');
      return;
    }
    if (hello.clusterId !== clusterId) {
      this.#lose(`Peer is of cluster "${hello.clusterId}", expected "${clusterId}"`);
      return;
    }
    if (hello.node !== node) {
      this.#lose(`Peer is node ${hello.node}, expected ${node}`);
      return;
    }
    this.#state = 'ready';
    this.#reconnectMs = 0;
    this.lastError = '';
    this.#listener.onPeerReady(this);
  }

  #lose(reason: string): void {
    if (this.#state === 'closed') return;
    const wasReady = this.#state === 'ready';
    this.#drop(reason);
    const { clock, log } = this.#modules;
    if (wasReady) {
      log('info', 'Lost the connection to a replica server', { peer: this.address, reason });
    }
    const delayMs = wasReady ? 0 : this.#reconnectMs;
    this.#reconnectMs = Math.min(
      RECONNECT_MS_MAX,
      wasReady ? RECONNECT_MS_MIN : Math.max(RECONNECT_MS_MIN, this.#reconnectMs * 2),
    );
    this.#timer = clock.after(delayMs, () => {
      if (this.#state === 'waiting') this.#connect();
    });
    this.#listener.onPeerLost(this);
  }

  #drop(reason: string): void {
    const { clock } = this.#modules;
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#state === 'ready' || this.lastError === '') this.downSinceMs = clock.now();
    this.#state = 'waiting';
    this.lastError = reason;
    this.#attempt += 1;
    this.#connection?.close(reason);
    this.#connection = null;
    for (let slot = 0; slot < this.#targets.length; slot += 1) {
      const target = this.#targets[slot];
      if (target === null || target === undefined) continue;
      this.#targets[slot] = null;
      this.#freeSlots.push(slot);
      this.outstanding -= 1;
      target.onLost(this.#tokens[slot] as number, reason);
    }
    assert(this.outstanding === 0, 'a lost peer has no waiting requests');
  }
}
