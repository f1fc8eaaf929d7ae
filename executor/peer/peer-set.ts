/**
 * The replica servers that this node talks to: one `Peer` per node, found by disk through the map,
 * opened when first needed and closed when the node or its address leaves the map. Listeners hear of
 * every peer's coming and going.
 */
import type { DiskId, NodeId } from '../../shared/base/ids.ts';
import type { MapIndex } from '../map-index.ts';
import { Peer, type PeerListener, type PeerModules } from './peer.ts';

export interface PeerSetOptions {
  readonly clusterId: string;
  readonly self: NodeId;
  /** `local:NAME` of this node's own replica server. */
  readonly localAddress: string;
}

export class PeerSet implements PeerListener {
  readonly #options: PeerSetOptions;
  readonly #map: MapIndex;
  readonly #modules: PeerModules;
  readonly #peers = new Map<NodeId, Peer>();
  readonly #listeners = new Set<PeerListener>();

  constructor(options: PeerSetOptions, map: MapIndex, modules: PeerModules) {
    this.#options = options;
    this.#map = map;
    this.#modules = modules;
  }

  listen(listener: PeerListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Null when the map does not know the disk or its node's address (yet). */
  ofDisk(disk: DiskId): Peer | null {
    const node = this.#map.disks.get(disk)?.node;
    if (node === undefined) return null;
    const known = this.#peers.get(node);
    if (known !== undefined) return known;
    const address = this.#addressOf(node);
    if (address === null) return null;
    const { clusterId, self } = this.#options;
    const peer = new Peer({ clusterId, self, node, address }, this.#modules, this);
    this.#peers.set(node, peer);
    return peer;
  }

  /** After a new map: peers whose node left or moved to another address are closed. */
  refresh(): void {
    for (const [node, peer] of [...this.#peers]) {
      if (this.#addressOf(node) === peer.address) continue;
      this.#peers.delete(node);
      peer.close('The node left the map or has another address');
      this.onPeerLost(peer);
    }
  }

  close(reason: string): void {
    for (const peer of this.#peers.values()) peer.close(reason);
    this.#peers.clear();
  }

  onPeerReady(peer: Peer): void {
    for (const listener of [...this.#listeners]) listener.onPeerReady(peer);
  }

  onPeerLost(peer: Peer): void {
    for (const listener of [...this.#listeners]) listener.onPeerLost(peer);
  }

  #addressOf(node: NodeId): string | null {
    if (node === this.#options.self) return this.#options.localAddress;
    return this.#map.nodes.get(node)?.dataAddress ?? null;
  }
}
