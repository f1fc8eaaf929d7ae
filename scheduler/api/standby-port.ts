/**
 * What the operator API needs to know of leadership: who leads, and the facts as the store holds them,
 * for a time in which nobody does.
 */
import type { LeaderRecord } from '../../shared/ports.ts';

export interface StandbyPort {
  /** Base URL by which others reach this process: what it would lead under. */
  readonly address: string;
  /**
   * Who leads, not older than a second; null when nobody does. Rejects with `unavailable` when the
   * store does not answer within seconds.
   */
  findLeader(): Promise<LeaderRecord | null>;
  /**
   * Makes the manager port's views those of the store, as new as it can; resolves with their age in
   * milliseconds. Rejects with `unavailable` when this process never saw the store's facts, or they
   * hold no cluster yet. Only for a process that does not lead.
   */
  followStore(): Promise<number>;
}
