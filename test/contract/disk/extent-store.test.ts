/** The extent store on real files: work, death of the process (no close), clean end. */

import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { ExtentStore } from '../../../executor/disk/extent-store.ts';
import { openExtentStore } from '../../../executor/disk/extent-store-open.ts';
import type { Done } from '../../../executor/disk/store-types.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { BLOCK_BYTES, KiB, MiB } from '../../../shared/base/units.ts';
import { systemClock } from '../../../shared/node/clock.ts';
import { LinuxDisk } from '../../../shared/node/linux-disk.ts';
import type { Status } from '../../../shared/wire/data-protocol.ts';
import { STATUS } from '../../../shared/wire/data-protocol.ts';
import { at, OK, readFrom, writeOf } from '../../unit/disk/store-fixture.ts';

const ask = (start: (done: Done) => void): Promise<Status> => new Promise(start);

describe('extent store on real files', () => {
  let path: string;

  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), 'cistern-store-'));
  });

  afterEach(() => rmSync(path, { recursive: true, force: true }));

  function open(): Promise<ExtentStore> {
    return openExtentStore(
      {
        clusterId: 'cluster-a',
        diskId: 7,
        uuid: 'uuid-7',
        capacityBytes: 64 * MiB,
        create: true,
        tuning: { journalCheckpointBytes: 16 * KiB },
      },
      { disk: new LinuxDisk(path), clock: systemClock, log: () => undefined },
    );
  }

  it('store on real files: random writes, opened again without and with a clean end, the same bytes', async () => {
    const prng = new Prng(7);
    const expected = new Map<string, number>();
    let store = await open();
    for (let round = 0; round < 3; round += 1) {
      const pending: Promise<Status>[] = [];
      for (let write = 0; write < 300; write += 1) {
        const extent = prng.below(6);
        const count = prng.pick([1, 1, 1, 2, 32]);
        const block = prng.below(200);
        const data = Buffer.alloc(count * BLOCK_BYTES, 1 + prng.below(255));
        for (let index = 0; index < count; index += 1) {
          expected.set(`${extent}:${block + index}`, data[0] ?? 0);
        }
        const durable = prng.chance(0.05);
        pending.push(
          ask((done) => store.write(writeOf(at(extent), block, data, { durable }), done)),
        );
      }
      expect((await Promise.all(pending)).every((status) => status === OK)).to.equal(true);
      if (round === 1) await new Promise<void>((resolve) => store.clean([at(0), at(1)], resolve));
      // Its handles stay open, as those of a dead process do not: nothing is written through them.
      if (round === 2) await store.close();
      else await ask((done) => store.flush(done));
      store = await open();
      for (const [key, fill] of expected) {
        const [extent, block] = key.split(':').map(Number);
        const result = await readFrom(store, at(extent ?? 0), block ?? 0, 1);
        expect(result.status, key).to.equal(OK);
        expect(result.data.equals(Buffer.alloc(BLOCK_BYTES, fill)), key).to.equal(true);
      }
    }
    await store.close();
  });

  it('store on real files: a deleted volume gives its space back to the file system', async () => {
    const store = await open();
    const data = Buffer.alloc(4 * MiB, 1);
    expect(await ask((done) => store.write(writeOf(at(0), 0, data), done))).to.equal(OK);
    expect(await ask((done) => store.flush(done))).to.equal(STATUS.ok);
    const slab = join(path, 'slabs/0000.slab');
    expect(statSync(slab).blocks * 512).to.be.at.least(4 * MiB);
    expect(await ask((done) => store.deleteVolume(1, done))).to.equal(OK);
    const deadline = Date.now() + 10_000;
    while (store.usage().pendingSlots > 0 && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(store.usage().pendingSlots).to.equal(0);
    expect(statSync(slab).blocks * 512).to.be.below(MiB);
    await store.close();
  });
});
