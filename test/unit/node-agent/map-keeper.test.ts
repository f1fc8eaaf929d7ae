/** When the last map is kept: soon, never more than once a second, and always the latest. */
import { expect } from 'chai';
import { MapKeeper } from '../../../executor/node-map-keeper.ts';
import type { ClusterMap } from '../../../shared/model/cluster-map.ts';
import { decodeDurableMap } from '../../../shared/wire/durable-map.ts';
import { VirtualClock } from '../../simulation/ports/virtual-clock.ts';

function map(version: number): ClusterMap {
  const tables = { nodes: [], disks: [], pgs: [], volumes: [] };
  return { clusterId: 'c', term: 2, version, nextVolume: 1, ...tables };
}

describe('map keeper', () => {
  it('a hundred maps in ten seconds: at most eleven are kept, the last within two seconds', async () => {
    const clock = new VirtualClock();
    const kept: { readonly version: number; readonly body: string; readonly atMs: number }[] = [];
    const facts = new Map<string, string>();
    const keeper = new MapKeeper({
      clock,
      encode: (_map, known) => Buffer.from([...known.values()].join()),
      keep: (bytes) => {
        const { version, body } = decodeDurableMap(bytes);
        kept.push({ version, body: body.toString(), atMs: clock.now() });
      },
    });
    expect(keeper.record()).to.equal(null);
    let lastAtMs = 0;
    for (let version = 1; version <= 100; version += 1) {
      facts.set('cluster', `facts ${version}`);
      keeper.note(map(version), facts);
      lastAtMs = clock.now();
      await clock.runFor(100);
    }
    await clock.runFor(5_000);
    expect(kept.length).to.be.within(9, 11);
    const last = kept.at(-1);
    expect(last?.version).to.equal(100);
    expect(last?.body).to.equal('facts 100');
    expect((last?.atMs ?? Infinity) - lastAtMs).to.be.at.most(2_000);
  });
});
