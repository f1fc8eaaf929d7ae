/**
 * The metadata store is lost, and made anew from what executors remember: the production recovery
 * (`recovery/decision.ts`) on a simulated cluster. What follows (healing, judgement) tells whether the
 * recovered manager may be trusted.
 */
import { decideRecovery } from '../../recovery/decision.ts';
import { readKnownMap } from '../../recovery/known-map.ts';
import type { Witness } from '../../recovery/witness.ts';
import { mapCodec } from './checkers/map-codec.ts';
import type { Cluster } from './cluster.ts';

/**
 * Which map a node brings along: the one in memory, or the one on its disks, up to two seconds older. The
 * latter is for executors that are dead: all of them are killed.
 */
export type Remembered = 'in memory' | 'on disk';

const ALL_UP_MS_MAX = 120_000;

/** The scheduler dies, its store with it; the next one leads on a recovered store. Returns why not, or null. */
export async function loseStore(cluster: Cluster, remembered: Remembered): Promise<string | null> {
  const isAllUp = (): boolean =>
    cluster.state !== null && cluster.nodes.every((node) => node.dataProcess?.isRunning === true);
  if (!(await cluster.clock.runWhile(() => !isAllUp(), ALL_UP_MS_MAX))) return 'a node is away';
  cluster.crashScheduler();
  const witnesses: Witness[] = [];
  for (const node of cluster.nodes) {
    const memory = await node.recall();
    if (memory === null) continue;
    const record = remembered === 'in memory' ? memory.record : memory.map;
    const known = record === null ? null : readKnownMap(mapCodec(), record);
    const { clusterId, disks } = memory;
    witnesses.push({ source: node.host, clusterId, node: memory.node, known, disks });
  }
  if (remembered === 'on disk') for (const node of cluster.nodes) node.crashExecutor();
  const choices = { acceptedMissing: [], isDoubtAccepted: false, nowMs: cluster.clock.wall() };
  const decision = decideRecovery(witnesses, choices);
  if (decision.kind === 'plan') {
    cluster.trace.add('run', `store recovered from map ${decision.basedOn.version}`);
    for (const change of decision.changes) cluster.trace.add('run', `recovered ${change}`);
    cluster.store.replace(decision.entries, decision.term);
  }
  cluster.startScheduler();
  return decision.kind === 'plan' ? null : decision.refusals.map(({ what }) => what).join('; ');
}
