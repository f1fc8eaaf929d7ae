/**
 * A volume's way to each disk that holds replicas of it: the peer, whether the disk has accepted the
 * volume's generation (`open`), and what is known to be wrong with it.
 */
import type { DiskId } from '../../shared/base/ids.ts';
import { DataFrame, nameOf, OP, STATUS, type Status } from '../../shared/wire/data-protocol.ts';
import type { Peer, ReplyTarget } from '../peer/peer.ts';
import type { PeerSet } from '../peer/peer-set.ts';

export interface LinkOwner {
  readonly volume: number;
  readonly generation: number;
  /** A disk accepted the generation. */
  onOpened(link: MemberLink): void;
  /** A disk has accepted a higher one: this gateway is done for good. */
  onFenced(generation: number): void;
}

/** Beyond so much unsent data a peer is not given more: the network is slower than the client. */
const QUEUED_BYTES_MAX = 64 * 1024 * 1024;
/** Refusals that pass by themselves are tried again after so long. */
const OPEN_RETRY_MS = 50;

export class MemberLink implements ReplyTarget {
  readonly disk: DiskId;
  readonly #owner: LinkOwner;
  readonly #peers: PeerSet;
  #openState: 'none' | 'sent' | 'open' = 'none';
  /** Not before this time; after a refusal. */
  #openRetryMs = 0;
  /** What the disk itself said is wrong, until it acks something again; empty when nothing. */
  failure = '';
  lastRefusal = '';

  constructor(disk: DiskId, owner: LinkOwner, peers: PeerSet) {
    this.disk = disk;
    this.#owner = owner;
    this.#peers = peers;
  }

  get isOpen(): boolean {
    return this.#openState === 'open';
  }

  get peer(): Peer | null {
    return this.#peers.ofDisk(this.disk);
  }

  /** The peer, when a request may be sent to this disk now. */
  usablePeer(): Peer | null {
    if (this.#openState !== 'open') return null;
    const peer = this.#peers.ofDisk(this.disk);
    if (peer === null || !peer.isReady || peer.queuedBytes > QUEUED_BYTES_MAX) return null;
    return peer;
  }

  /** Asks the disk to accept the generation, unless it has or is being asked. */
  open(nowMs: number): void {
    if (this.#openState !== 'none' || nowMs < this.#openRetryMs) return;
    const peer = this.#peers.ofDisk(this.disk);
    if (peer === null || !peer.isReady) return;
    const frame = new DataFrame();
    frame.op = OP.open;
    frame.disk = this.disk;
    frame.volume = this.#owner.volume;
    frame.generation = this.#owner.generation;
    this.#openRetryMs = nowMs + OPEN_RETRY_MS;
    if (peer.send(frame, this, 0)) this.#openState = 'sent';
  }

  /** The disk turned out not to know the generation (it was replaced, or emptied). */
  reopen(): void {
    if (this.#openState === 'open') this.#openState = 'none';
  }

  /** Why nothing can be sent, for reports; empty when something can. */
  obstacle(): string {
    const peer = this.peer;
    if (this.failure !== '') return this.failure;
    if (peer === null) return 'The map has no address for it';
    if (!peer.isReady) return peer.lastError;
    if (!this.isOpen) return `It has not accepted the generation: ${this.lastRefusal}`;
    return '';
  }

  onReply(frame: DataFrame): void {
    if (frame.status === STATUS.ok) {
      this.#openState = 'open';
      this.lastRefusal = '';
      this.#owner.onOpened(this);
      return;
    }
    this.#openState = 'none';
    this.noteRefusal(frame.status as Status);
    if (frame.status === STATUS.fenced && frame.aux > this.#owner.generation) {
      this.#owner.onFenced(frame.aux);
    }
  }

  onLost(): void {
    this.#openState = 'none';
    this.#openRetryMs = 0;
  }

  noteRefusal(status: Status): void {
    this.lastRefusal = nameOf(STATUS, status);
    if (status === STATUS.diskFailed) this.failure = 'The disk failed';
    if (status === STATUS.badRequest) this.failure = 'The replica refused a request as malformed';
  }
}
