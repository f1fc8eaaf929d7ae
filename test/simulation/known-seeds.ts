/**
 * Seeds that once failed, with their stories. They run for ever: a seed that found something is a test of
 * it for as long as the options that it draws stay the same, and a reminder of the story afterwards.
 */
import type { SwarmOverrides } from './swarm.ts';

export interface KnownSeed {
  readonly seed: number;
  readonly overrides: SwarmOverrides;
  readonly name: string;
  readonly story: string;
}

export const KNOWN_SEEDS: readonly KnownSeed[] = [
  {
    seed: 11,
    overrides: { thinkMs: 5 },
    name: 'a shut-out node with the last copy is readmitted',
    story:
      'The manager raised the map version that a fenced member has to know at every look, changed or not: the node with the last in-sync copy never caught up, and its PGs stayed down for ever.',
  },
  {
    seed: 14,
    overrides: {},
    name: 'extents without a slot are freed',
    story:
      'Stores named only PGs and volumes with slots in their usage; extents of zeros that had left a disk were never dropped.',
  },
  {
    seed: 310,
    overrides: {
      isPowerLossQuick: true,
      isShort: true,
      faults: ['power-loss', 'scheduler-restart'],
    },
    name: 'power is back before anybody noticed',
    story:
      'A node lost its power and was back within its lease. It stayed in sync, although acked writes that nobody had flushed were gone from its disks: reads from there went back in time.',
  },
  {
    seed: 329,
    overrides: {
      isPowerLossQuick: true,
      isShort: true,
      faults: ['power-loss', 'scheduler-restart'],
    },
    name: 'power is back before anybody noticed, a second shape',
    story: 'As 310, in another cluster and with another workload.',
  },
  {
    seed: 337,
    overrides: {
      isPowerLossQuick: true,
      isShort: true,
      faults: ['power-loss', 'scheduler-restart'],
    },
    name: 'power is back before anybody noticed, a third shape',
    story: 'As 310, in another cluster and with another workload.',
  },
  {
    seed: 159793689,
    overrides: { isShort: true },
    name: 'a node that only seems to live is no reason to leave others out',
    story:
      'All nodes lost power at once while the store stalled. The word that one executor was dead came through first; the manager left it out of its PGs for the sake of another node that it had last heard before the black-out, and whose disk hung for ever: the only good copies were no members any more.',
  },
  {
    seed: 1000419,
    overrides: { isShort: true },
    name: 'a flush after a blackout owes nothing to writes from before it',
    story:
      'A disk dropped the record that an extent was dirty, and power was lost everywhere. The judge went on waiting for a sync of acked writes that no disk owed any more, and called the first flush of the new gateway a lie.',
  },
  {
    seed: 1001247,
    overrides: { isShort: true },
    name: 'nobody leaves for the sake of a disk that hangs',
    story:
      'A disk hung for ever while the manager was away. The first report after its return complained of the other member of a group (a lost connection), and of the hung disk only in other groups: the good copy left, the hung one stayed.',
  },
  {
    seed: 1001091,
    overrides: { isShort: true },
    name: "a disk that takes writes and cannot be read becomes nobody's home",
    story:
      'A disk that could not be read any more joined a group while the power of another member was lost; the only good copy was let go, and writes of parts of blocks failed.',
  },
  {
    seed: 192897050,
    overrides: { isShort: true },
    name: 'a disk whose executor ended is launched again, however late the word comes',
    story:
      'The word on the end of an executor came seconds after a launch that relied on it, to a manager that had started in between: it took the new executor for dead. The simulated master forgot the new executor as well, which no real one does, and the disk was never launched again.',
  },
  {
    seed: 5000408,
    overrides: { isShort: true },
    name: 'a refused write makes no damage valid',
    story:
      'A disk lost a write, and later refused another one for lack of space. All checksums of that extent were computed anew because of the refused one: the older bytes of the lost one became data.',
  },
  {
    seed: 10,
    overrides: { isShort: true, faults: ['agent-wiped'] },
    name: 'most agents lose their work directories at once',
    story:
      'The stores were found under new agents, but too many nodes were gone for any of their leases to run out for certain, so no disk was adopted; and when the operator forgot the old nodes, what had been found counted as lost.',
  },
  {
    seed: 8000552,
    overrides: { isShort: true },
    name: 'a finished move lets nobody go for members that were never heard',
    story:
      'A new manager finished a move for balance while two of three members of a group were silent (their machines had been replaced): it let the only living one go, because the group was complete by the number of its members.',
  },
];
