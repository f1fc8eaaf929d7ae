import { expect } from 'chai';
import fc from 'fast-check';
import {
  contains,
  formatResources,
  intersect,
  normalize,
  subtract,
  subtractAvailable,
  sum,
} from '../../../dev/mesos/resources.ts';
import type { Resource } from '../../../shared/mesos/messages.ts';

function cpus(value: number, role?: string): Resource {
  const resource: Resource = { name: 'cpus', type: 'SCALAR', scalar: { value } };
  return role === undefined ? resource : { ...resource, reservations: [{ type: 'DYNAMIC', role }] };
}

function ports(...range: { begin: number; end: number }[]): Resource {
  return { name: 'ports', type: 'RANGES', ranges: { range } };
}

function disk(value: number, type: 'PATH' | 'MOUNT', root: string, id?: string): Resource {
  const source = type === 'PATH' ? { type, path: { root } } : { type, mount: { root } };
  const volume = {
    persistence: { id: id ?? '' },
    volume: { mode: 'RW', container_path: 'd' } as const,
  };
  return {
    name: 'disk',
    type: 'SCALAR',
    scalar: { value },
    disk: id === undefined ? { source } : { source, ...volume },
  };
}

describe('stand-in resources', () => {
  it('amounts of the same thing merge, others stay apart', () => {
    expect(sum([cpus(1), cpus(0.5, 'a')], [cpus(2)])).to.deep.equal([cpus(3), cpus(0.5, 'a')]);
  });

  it('three decimals, exact over many small steps', () => {
    let rest: Resource[] = [cpus(1)];
    for (let step = 0; step < 9; step++) rest = subtract(rest, [cpus(0.1)]);
    expect(rest).to.deep.equal([cpus(0.1)]);
    expect(subtract(rest, [cpus(0.1)])).to.deep.equal([]);
  });

  it('ranges: a hole, and back', () => {
    const all = [ports({ begin: 10, end: 20 })];
    const middle = [ports({ begin: 13, end: 15 })];
    const rest = subtract(all, middle);
    expect(formatResources(rest)).to.equal('ports:[10-12, 16-20]');
    expect(sum(rest, middle)).to.deep.equal(all);
    expect(contains(rest, [ports({ begin: 12, end: 13 })])).to.equal(false);
  });

  it('a MOUNT disk and a volume are taken whole or not at all, a PATH disk in parts', () => {
    expect(contains([disk(250, 'MOUNT', '/m')], [disk(100, 'MOUNT', '/m')])).to.equal(false);
    expect(contains([disk(250, 'MOUNT', '/m')], [disk(250, 'MOUNT', '/m')])).to.equal(true);
    expect(contains([disk(250, 'PATH', '/p')], [disk(100, 'PATH', '/p')])).to.equal(true);
    expect(contains([disk(250, 'PATH', '/p')], [disk(100, 'PATH', '/other')])).to.equal(false);
    const volume = disk(100, 'PATH', '/p', 'v');
    expect(contains([volume], [disk(50, 'PATH', '/p', 'v')])).to.equal(false);
    expect(sum([volume], [volume])).to.have.lengthOf(2);
  });

  it('asking twice for the same exclusive disk, refused', () => {
    const mount = disk(250, 'MOUNT', '/m');
    expect(contains([mount], [mount, mount])).to.equal(false);
  });

  it('old spelling, turned into a stack of reservations', () => {
    expect(normalize({ ...cpus(1), role: '*' })).to.deep.equal(cpus(1));
    expect(normalize({ ...cpus(1), role: 'a' }).reservations).to.deep.equal([
      { type: 'STATIC', role: 'a' },
    ]);
    const dynamic = normalize({ ...cpus(1), role: 'a', reservation: { principal: 'p' } });
    expect(dynamic.reservations?.[0]).to.include({ type: 'DYNAMIC', role: 'a', principal: 'p' });
  });

  it('random amounts: (a + b) - b = a, and intersections are contained in both', () => {
    const amount = fc.integer({ min: 1, max: 100_000 }).map((millis) => millis / 1000);
    const list = fc.array(
      fc.oneof(
        amount.map((value) => cpus(value)),
        amount.map((value) => cpus(value, 'a')),
        amount.map((value) => disk(value, 'PATH', '/p')),
      ),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(list, list, (a, b) => {
        const rest = subtract(sum(a, b), b);
        expect(contains(rest, a) && contains(a, rest)).to.equal(true);
        const both = intersect(a, b);
        expect(contains(a, both) && contains(b, both)).to.equal(true);
        expect(contains(a, subtractAvailable(a, b))).to.equal(true);
      }),
    );
  });
});
