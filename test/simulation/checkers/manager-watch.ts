/**
 * Looks at the manager's state after each of its commits: invariants of the core, epochs that only
 * grow, and what changed, as trace lines. Also answers whether the cluster is whole.
 */
import { checkEpochRule, checkInvariants } from '../../../scheduler/core/invariants.ts';
import type { PgRecord } from '../../../scheduler/core/records.ts';
import type { State } from '../../../scheduler/core/state.ts';
import type { Trace } from '../trace.ts';

export class ManagerWatch {
  readonly #trace: Trace;
  readonly #onViolation: (what: string) => void;
  readonly #pgs = new Map<number, PgRecord>();
  readonly #generations = new Map<number, number>();
  #mapVersion = 0;
  #lastEvent = 0;

  constructor(trace: Trace, onViolation: (what: string) => void) {
    this.#trace = trace;
    this.#onViolation = onViolation;
  }

  onCommit(state: State): void {
    for (const broken of checkInvariants(state)) this.#onViolation(`manager: ${broken}`);
    const { mapVersion } = state.facts.cluster;
    if (mapVersion < this.#mapVersion) {
      this.#onViolation(`map version fell from ${this.#mapVersion} to ${mapVersion}`);
    }
    this.#mapVersion = mapVersion;
    for (const pg of state.facts.pgs.values()) this.#onPg(pg);
    for (const volume of state.facts.volumes.values()) {
      const before = this.#generations.get(volume.id) ?? 0;
      if (volume.generation < before) {
        this.#onViolation(`v${volume.id} fell from generation ${before} to ${volume.generation}`);
      }
      this.#generations.set(volume.id, volume.generation);
    }
    for (const event of state.facts.events.values()) {
      if (event.id <= this.#lastEvent) continue;
      this.#lastEvent = event.id;
      this.#trace.add('manager', `* ${event.kind} ${event.message}`);
    }
  }

  #onPg(pg: PgRecord): void {
    const before = this.#pgs.get(pg.id);
    if (before === pg) return;
    this.#pgs.set(pg.id, pg);
    if (before !== undefined) {
      const broken = checkEpochRule(before, pg);
      if (broken !== null) this.#onViolation(`manager: ${broken}`);
      if (before.epoch === pg.epoch) return;
    }
    const text = `in=${pg.inSync.join()} joining=${pg.joining.join()} target=${pg.target.join()}`;
    const suspects = pg.suspects === undefined ? '' : ` suspects=${pg.suspects.join()}`;
    this.#trace.add('manager', `# pg${pg.id} e${pg.epoch} ${text}${suspects}`);
  }
}

/** Why the cluster is not whole yet; empty when every PG has all its replicas where they belong. */
export function findUnrest(state: State | null): string {
  if (state === null) return 'no scheduler leads';
  const { facts } = state;
  for (const family of facts.families.values()) {
    for (let id = family.pgBase; id < family.pgBase + family.pgCount; id += 1) {
      const pg = facts.pgs.find(id as PgRecord['id']);
      if (pg === undefined) return `pg${id} is missing`;
      if (pg.joining.length > 0) return `pg${id} has joining members ${pg.joining.join()}`;
      if (pg.inSync.length < family.replicas) return `pg${id} has ${pg.inSync.length} members`;
      const isPlaced = [...pg.inSync].sort().join() === [...pg.target].sort().join();
      if (!isPlaced) return `pg${id} is on ${pg.inSync.join()}, its target is ${pg.target.join()}`;
    }
  }
  for (const disk of facts.disks.values()) {
    if (disk.phase === 'failed' || disk.phase === 'lost') continue;
    if (disk.phase !== 'serving') return `d${disk.id} is ${disk.phase}: ${disk.error}`;
    // The executor of a node whose disks have all failed is ended: nobody needs that one.
    if (facts.nodes.find(disk.node)?.isFenced === true) return `n${disk.node} is fenced`;
  }
  for (const job of facts.jobs.values()) {
    if (job.phase === 'running') return `job ${job.kind} of ${job.subject} is running`;
  }
  return '';
}
