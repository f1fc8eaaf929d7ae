/** The checkers that look on all the time: each accepts what is right and does not let pass what is not. */
import { expect } from 'chai';
import { DataFrame, FLAG, OP, STATUS } from '../../../shared/wire/data-protocol.ts';
import { BudgetWatch } from './budget-watch.ts';
import { type BookedExtent, type DiskBooks, findFalseBooks } from './disk-books.ts';
import { DurableFacts } from './durable-facts.ts';
import { LeaseBook } from './lease-book.ts';
import { findCrowded } from './placement-check.ts';
import { ReplicaWatch } from './replica-watch.ts';
import { SpaceWatch } from './space-watch.ts';

const MiB = 1024 * 1024;
const EXTENT = 4 * MiB;

function factsOf(rows: Readonly<Record<string, unknown>>): DurableFacts {
  const facts = new DurableFacts();
  const changes = Object.entries(rows).map(([key, row]) => ({ key, value: JSON.stringify(row) }));
  facts.onCommit(changes, 0);
  return facts;
}

const NODE = { admin: 'active', registeredAtVersion: 1, removedAtVersion: null };
const disk = (id: number, node: number) => ({ id, node, uuid: `u${id}`, phase: 'serving' });
const pg = (id: number, epoch: number, inSync: number[], joining: number[] = []) => ({
  id,
  epoch,
  inSync,
  joining,
  target: inSync,
});
const PLACED = { pgBase: 1, pgCount: 2, pgOffset: 0, pgStride: 1 };
const VOLUME = { id: 1, generation: 2, sizeBytes: 64 * MiB, ...PLACED };
const ROWS = {
  cluster: { mapVersion: 7 },
  'node/1': NODE,
  'node/2': NODE,
  'disk/1': disk(1, 1),
  'disk/2': disk(2, 2),
  'disk/3': disk(3, 1),
  'pg/1': pg(1, 5, [1, 2]),
  'pg/2': pg(2, 6, [1, 2]),
  'volume/1': VOLUME,
};

// ── Books ────────────────────────────────────────────────────────────────────────────────────────

function extent(number: number, slot: number | null, more: Partial<BookedExtent> = {}) {
  const place = slot === null ? null : { name: 'slabs/0000.slab', offset: slot * EXTENT };
  const address = { volume: 1, layer: 0, extent: number };
  return {
    ...address,
    pg: 1 + (number % 2),
    epoch: 3,
    dirty: false,
    incomplete: false,
    place,
    ...more,
  };
}

function books(more: Partial<DiskBooks> = {}): DiskBooks {
  const usage = {
    ...{ capacityBytes: 16 * EXTENT, usedBytes: 2 * EXTENT, slotCount: 16, usedSlots: 2 },
    ...{ pendingSlots: 0, extentCount: 3, dirtyExtentCount: 0, incompleteExtentCount: 0 },
    checksumErrorCount: 0,
  };
  return {
    ...{ disk: 1, uuid: 'u1', usage, mapVersion: 7 },
    extents: [extent(0, 0), extent(1, 1), extent(2, null)],
    volumes: new Map([[1, 2 * EXTENT]]),
    pgs: new Map([1, 2].map((id) => [id, EXTENT])),
    epochs: new Map([[1, 5]]),
    generations: new Map([[1, 2]]),
    ...more,
  };
}

const FALSE_BOOKS: readonly (readonly [string, string, Partial<DiskBooks>])[] = [
  ['I7', 'two extents in one slot', { extents: [extent(0, 0), extent(1, 0), extent(2, null)] }],
  ['I7', 'a volume is charged too little', { volumes: new Map([[1, EXTENT]]) }],
  ['I7', 'a PG is charged that has nothing', { pgs: new Map([1, 2, 9].map((id) => [id, EXTENT])) }],
  ['I7', 'an extent is not counted', { extents: [extent(0, 0), extent(1, 1)] }],
  ['I13', 'another disk', { uuid: 'u2' }],
  ['I13', 'an epoch that is not durable', { epochs: new Map([[1, 6]]) }],
  ['I13', 'a generation that is not durable', { generations: new Map([[1, 3]]) }],
  ['I13', 'a map that is not durable', { mapVersion: 8 }],
  [
    'I13',
    'a stamp from the future',
    { extents: [extent(0, 0, { epoch: 6 }), extent(1, 1), extent(2, null)] },
  ],
  [
    'I13',
    'an extent of another PG',
    { extents: [extent(0, 0), extent(1, 1), extent(2, null, { pg: 2 })] },
  ],
  ['I13', 'an extent behind the end', { extents: [extent(0, 0), extent(1, 1), extent(16, null)] }],
];

describe('checkers: books of disks', () => {
  it('books that fit: nothing to say', () => {
    expect(findFalseBooks(books(), factsOf(ROWS))).to.deep.equal([]);
  });

  for (const [invariant, what, more] of FALSE_BOOKS) {
    it(`${what}: found`, () => {
      const [first, ...others] = findFalseBooks(books(more), factsOf(ROWS));
      expect(first).to.match(new RegExp(`^${invariant}: d1 `));
      expect(others.every((other) => other.startsWith(invariant))).to.equal(true);
    });
  }
});

// ── Placement ────────────────────────────────────────────────────────────────────────────────────

describe('checkers: placement', () => {
  it('copies on different nodes: right; on one although there are two: found', () => {
    expect(findCrowded(factsOf(ROWS))).to.deep.equal([]);
    const crowded = findCrowded(factsOf({ ...ROWS, 'pg/1': pg(1, 5, [1, 3]) }));
    expect(crowded).to.have.length(2);
    expect(crowded[0]).to.match(/^I6: targets of pg1 share a node/);
  });

  it('copies on one node because the others are being emptied: right', () => {
    const rows = { ...ROWS, 'pg/1': pg(1, 5, [1, 3]), 'node/2': { ...NODE, admin: 'draining' } };
    expect(findCrowded(factsOf(rows))).to.deep.equal([]);
  });
});

// ── Space ────────────────────────────────────────────────────────────────────────────────────────

function startCopy(usedExtents: number, alsoComing: boolean): string[] {
  const violations: string[] = [];
  const coming = alsoComing ? [3] : [];
  const before = { ...ROWS, 'pg/2': pg(2, 6, [1, 2], coming) };
  const facts = factsOf(before);
  const held = (id: number) => {
    const pgBytes = new Map(id === 3 ? [] : [1, 2].map((each) => [each, 2 * EXTENT] as const));
    return { usedBytes: usedExtents * EXTENT, capacityBytes: 20 * EXTENT, pgBytes };
  };
  const watch = new SpaceWatch({
    facts,
    heldBy: held,
    onViolation: (what) => violations.push(what),
  });
  facts.onPgChanged = (old, now) => watch.onPg(old, now);
  facts.onCommit([{ key: 'pg/1', value: JSON.stringify(pg(1, 6, [1, 2], [3])) }], 0);
  return violations;
}

describe('checkers: room for copies', () => {
  it('a copy that fits below the hard limit: right; one extent more: found', () => {
    expect(startCopy(17, false)).to.deep.equal([]);
    expect(startCopy(18, false)).to.have.length(1);
    expect(startCopy(18, false)[0]).to.match(/^I8: d3 /);
  });

  it('it fits alone, and not with what is on its way there: found', () => {
    expect(startCopy(15, true)).to.deep.equal([]);
    expect(startCopy(16, true)).to.have.length(1);
  });
});

// ── Budget ───────────────────────────────────────────────────────────────────────────────────────

function pullFor(seconds: number, bytesPerSecond: number): string[] {
  let nowMs = 0;
  const violations: string[] = [];
  const options = { bytesPerSecond: 4 * MiB, disksPerNode: 1 };
  const watch = new BudgetWatch(options, { now: () => nowMs }, (what) => violations.push(what));
  const pull = 64 * 1024;
  while (nowMs < seconds * 1000) {
    watch.onPulled('host1', pull);
    nowMs += (pull / bytesPerSecond) * 1000;
  }
  return violations;
}

describe('checkers: budget of copies', () => {
  it('as much as is allowed, for long: right; twice as much: found, but not for a moment', () => {
    expect(pullFor(60, 4 * MiB)).to.deep.equal([]);
    expect(pullFor(0.2, 8 * MiB)).to.deep.equal([]);
    expect(pullFor(10, 8 * MiB)[0]).to.match(/^I11: host1 pulled /);
  });
});

// ── Requests without an answer ───────────────────────────────────────────────────────────────────

describe('checkers: requests that nobody answers', () => {
  const always = (): number => 0;

  function asked() {
    let nowMs = 1_000;
    const clock = {
      now: () => nowMs,
      wall: () => nowMs,
      after: () => ({ cancel: () => undefined }),
    };
    const facts = factsOf(ROWS);
    const onViolation = (): void => undefined;
    const pulls = new BudgetWatch({ bytesPerSecond: 1, disksPerNode: 1 }, clock, onViolation);
    const leases = new LeaseBook(clock, facts);
    const watch = new ReplicaWatch({ clock, facts, leases, pulls, onViolation });
    const connection = watch.observe('host1', 'host2:0');
    const frame = new DataFrame();
    frame.op = OP.flush;
    frame.requestId = 3;
    connection.onRequest(frame);
    const answer = (): void => {
      frame.flags |= FLAG.reply;
      frame.status = STATUS.noLease;
      connection.onReply(frame);
    };
    const pass = (ms: number): void => {
      nowMs += ms;
    };
    return { watch, connection, answer, pass };
  }

  it('a request waits too long: found; answered, or its connection closed: right', () => {
    const late = asked();
    late.pass(5_000);
    expect(late.watch.findStuck(5_000, always)).to.equal('');
    late.pass(1);
    expect(late.watch.findStuck(5_000, always)).to.match(/^I12: a flush for d0 at host1 waits/);
    late.answer();
    expect(late.watch.findStuck(5_000, always)).to.equal('');
    const closed = asked();
    closed.connection.onClose();
    closed.pass(9_000);
    expect(closed.watch.findStuck(5_000, always)).to.equal('');
  });

  it('its process died, or was stopped meanwhile: right', () => {
    const dead = asked();
    dead.pass(9_000);
    expect(dead.watch.findStuck(5_000, () => 6_000)).to.equal('');
    expect(dead.watch.findStuck(5_000, () => Number.POSITIVE_INFINITY)).to.equal('');
    dead.watch.onCrash('host2');
    expect(dead.watch.findStuck(5_000, always)).to.not.equal('');
    dead.watch.onCrash('host1');
    expect(dead.watch.findStuck(5_000, always)).to.equal('');
  });
});
