/** Control messages: round trips, truncation, corruption, hostile values. */
import { join } from 'node:path';
import { expect } from 'chai';
import { StorageError } from '../../../shared/base/errors.ts';
import { diskId, jobId, nodeId, pgId, volumeId } from '../../../shared/base/ids.ts';
import { Prng } from '../../../shared/base/prng.ts';
import type { ManagerMessage, NodeMessage } from '../../../shared/model/control.ts';
import { EMPTY_REPORT } from '../../../shared/model/node-report.ts';
import { loadControlCodec } from '../../../shared/node/control-codec.ts';
import { PROJECT_ROOT } from '../../tidy/source-tree.ts';

const codec = loadControlCodec(join(PROJECT_ROOT, 'proto'));

const HELLO: NodeMessage = {
  kind: 'hello',
  hello: {
    clusterId: 'c',
    agentId: 'agent',
    executorId: 'executor',
    hostname: 'host',
    incarnation: 'i',
    version: '1',
    dataAddress: '10.0.0.1:7000',
    grantAddress: '10.0.0.1:7001',
    mapVersion: 2 ** 40,
    term: 7,
  },
};

const REPORT: NodeMessage = {
  kind: 'report',
  sequence: 9,
  report: {
    mapVersion: 3,
    disks: [
      {
        id: diskId(1),
        uuid: 'u',
        status: 'failed',
        error: 'EIO',
        capacityBytes: 2 ** 43,
        usedBytes: 4096,
        path: '/x',
        extentCount: 1,
        dirtyExtentCount: 0,
        checksumErrorCount: 2,
        incarnation: 3,
        tier: 'nvme',
        foreign: { kind: 'unknown-files', found: 'photos, letters.txt' },
      },
    ],
    joins: [
      {
        pg: pgId(4),
        disk: diskId(1),
        epoch: 5,
        totalBytes: 100,
        doneBytes: 10,
        isComplete: true,
        error: '',
      },
    ],
    failures: [{ pg: pgId(4), epoch: 5, disk: diskId(2), reason: 'timeout', sinceMs: 1200 }],
    attachments: [
      {
        volume: volumeId(0xffffffff),
        generation: 3,
        status: 'serving',
        reason: '',
        socketPath: '/s',
        tcpUri: 'nbd://h:1/v',
        clientCount: 1,
        readOps: 1,
        writeOps: 2,
        readBytes: 3,
        writeBytes: 4,
        readMicros: 5,
        writeMicros: 6,
      },
    ],
    volumeUsage: [{ volume: volumeId(1), disk: diskId(1), bytes: 4096 }],
    pgUsage: [{ pg: pgId(4), disk: diskId(1), bytes: 4096 }],
    cpuSeconds: 1.5,
    memoryBytes: 12345,
    noticeSource: 'run-1',
    notices: [
      {
        sequence: 7,
        severity: 'error',
        kind: 'block.lost',
        disk: diskId(1),
        pg: pgId(0),
        volume: volumeId(0xffffffff),
        extent: 3,
        block: 0,
        blockCount: 2,
        text: 'Two blocks have no good copy',
        ageMs: 1500,
      },
      {
        sequence: 8,
        severity: 'info',
        kind: 'extent.healed',
        disk: null,
        pg: null,
        volume: null,
        extent: null,
        block: null,
        blockCount: 0,
        text: 'An extent was copied again',
        ageMs: 0,
      },
    ],
    grantAgeMs: 4_711,
    keptMapVersion: 66,
    badBlocks: [
      {
        disk: diskId(1),
        pg: pgId(4),
        volume: volumeId(1),
        extent: 2,
        block: 3,
        blockCount: 4,
        isLost: true,
      },
    ],
    scrubs: [
      {
        job: jobId(3),
        pg: pgId(4),
        disk: diskId(1),
        isDone: false,
        position: { volume: 1, layer: 0, extent: 0 },
        totalExtents: 10,
        doneExtents: 4,
        skippedExtents: 1,
        checkedBytes: 1 << 20,
        badBlocks: 1,
        differingBlocks: 2,
        healedExtents: 1,
        error: 'none',
      },
    ],
    background: [{ kind: 'scrub', bytes: 4096 }],
  },
};

const MAP: ManagerMessage = {
  kind: 'map',
  map: {
    clusterId: 'c',
    term: 2,
    version: 17,
    nodes: [
      {
        id: nodeId(0),
        hostname: 'a',
        zone: null,
        dataAddress: null,
        grantAddress: 'a:1',
        isFenced: true,
      },
    ],
    disks: [{ id: diskId(0), node: nodeId(0), uuid: 'u', incarnation: 2 }],
    pgs: [
      {
        id: pgId(0),
        epoch: 1,
        inSync: [diskId(0), diskId(3)],
        joining: [diskId(2)],
        minInSync: 1,
        target: [diskId(3)],
        suspects: [diskId(3)],
        compareEpoch: 1,
      },
    ],
    volumes: [
      {
        id: volumeId(1),
        name: 'v',
        sizeBytes: 2 ** 50,
        pgBase: 0,
        pgCount: 128,
        pgOffset: 3,
        pgStride: 5,
        layer: 1,
        generation: 2,
        attachedTo: nodeId(0),
        isFull: false,
        durability: 'writethrough',
      },
    ],
    nextVolume: 2,
  },
};

describe('control codec', () => {
  it('round trip: messages of a node', () => {
    for (const message of [HELLO, REPORT]) {
      expect(codec.decodeNodeMessage(codec.encodeNodeMessage(message))).to.deep.equal(message);
    }
  });

  it('round trip: orders to scrub', () => {
    const message: ManagerMessage = {
      kind: 'scrubs',
      term: 4,
      orders: [
        { job: jobId(3), pg: pgId(0), disk: diskId(1), volume: null, after: null },
        {
          job: jobId(3),
          pg: pgId(7),
          disk: diskId(2),
          volume: volumeId(9),
          after: { volume: 9, layer: 0, extent: 0 },
        },
      ],
    };
    expect(codec.decodeManagerMessage(codec.encodeManagerMessage(message))).to.deep.equal(message);
  });

  it('round trip: messages of the manager; node 0 and "nobody" are told apart', () => {
    const [volume] = MAP.kind === 'map' ? MAP.map.volumes : [];
    expect(volume?.attachedTo).to.equal(0);
    const detached: ManagerMessage = {
      kind: 'delta',
      delta: {
        ...(MAP.kind === 'map' ? MAP.map : never()),
        fromVersion: 16,
        volumes: [{ ...(volume ?? never()), attachedTo: null }],
        removedNodes: [nodeId(1)],
        removedDisks: [],
        removedPgs: [pgId(9)],
        removedVolumes: [],
      },
    };
    const facts = [
      { key: 'cluster', value: '{"clusterId":"c"}' },
      { key: 'volume/3', value: null },
    ];
    const others: readonly ManagerMessage[] = [
      MAP,
      { ...(MAP.kind === 'map' ? MAP : never()), facts },
      { ...detached, ...(detached.kind === 'delta' ? { facts } : never()) },
      detached,
      { kind: 'refusal', term: 1, reason: 'no' },
      { kind: 'lease', term: 1, sequence: 3, durationMs: 4000 },
      {
        kind: 'welcome',
        term: 1,
        node: nodeId(2),
        leaseMs: 4000,
        resyncBytesPerSecond: 2 ** 33,
        concurrentJoins: 2,
      },
    ];
    for (const message of others) {
      expect(codec.decodeManagerMessage(codec.encodeManagerMessage(message))).to.deep.equal(
        message,
      );
    }
  });

  it('truncation: every prefix decodes to something valid or is refused, never crashes', () => {
    const bytes = codec.encodeManagerMessage(MAP);
    for (let length = 0; length < bytes.length; length += 1) {
      expectDecodedOrRefused(() => codec.decodeManagerMessage(bytes.subarray(0, length)));
    }
  });

  it('corruption: every single byte changed is decoded or refused, never crashes', () => {
    const random = new Prng('corruption');
    const bytes = codec.encodeNodeMessage(REPORT);
    for (let index = 0; index < bytes.length; index += 1) {
      const copy = Buffer.from(bytes);
      copy[index] = (copy[index] ?? 0) ^ (1 + random.below(255));
      expectDecodedOrRefused(() => codec.decodeNodeMessage(copy));
    }
  });

  it('hostile values: an unknown word and a PG count of three are refused', () => {
    const report = REPORT.kind === 'report' ? REPORT : never();
    const [disk] = report.report.disks;
    const wrongWord = {
      ...report,
      report: { ...report.report, disks: [{ ...disk, status: 'melted' }] },
    } as unknown as NodeMessage;
    expect(() => codec.decodeNodeMessage(codec.encodeNodeMessage(wrongWord))).to.throw(
      StorageError,
      'melted',
    );
    const map = MAP.kind === 'map' ? MAP.map : never();
    const [volume] = map.volumes;
    const wrongCount: ManagerMessage = {
      kind: 'map',
      map: { ...map, volumes: [{ ...(volume ?? never()), pgCount: 3 }] },
    };
    expect(() => codec.decodeManagerMessage(codec.encodeManagerMessage(wrongCount))).to.throw(
      StorageError,
      'power of two',
    );
  });
});

function expectDecodedOrRefused(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    expect(error).to.be.instanceOf(StorageError);
    expect((error as StorageError).code).to.equal('protocol');
  }
}

function never(): never {
  throw new Error('The sample has another shape');
}

describe('control codec: volumes in turns', () => {
  it('control codec: the range of a part is kept, a whole report has none', () => {
    const turn = { volumeFrom: 256, volumeBelow: 0xffff_ffff };
    const read = (report: typeof EMPTY_REPORT): unknown => {
      const bytes = codec.encodeNodeMessage({ kind: 'report', sequence: 1, report });
      const message = codec.decodeNodeMessage(bytes);
      return message.kind === 'report' ? message.report : null;
    };
    expect(read({ ...EMPTY_REPORT, ...turn })).to.deep.equal({ ...EMPTY_REPORT, ...turn });
    expect(read(EMPTY_REPORT)).to.deep.equal(EMPTY_REPORT);
  });
});
