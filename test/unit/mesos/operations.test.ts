import { expect } from 'chai';
import {
  checkOperation,
  findIdError,
  type OperationContext,
} from '../../../dev/mesos/operations.ts';
import type { OfferOperation, Resource } from '../../../shared/mesos/messages.ts';

const CONTEXT: OperationContext = { principal: 'p', roles: undefined, total: [], used: [] };

function space(value: number, kind: 'PATH' | 'MOUNT' = 'PATH'): Resource {
  const source =
    kind === 'PATH' ? { type: kind, path: { root: '/d' } } : { type: kind, mount: { root: '/d' } };
  return {
    name: 'disk',
    type: 'SCALAR',
    scalar: { value },
    allocation_info: { role: 'r' },
    reservations: [{ type: 'DYNAMIC', role: 'r', principal: 'p' }],
    disk: { source },
  };
}

function volume(value: number, id: string, kind: 'PATH' | 'MOUNT' = 'PATH'): Resource {
  const base = space(value, kind);
  const made = { mode: 'RW', container_path: 'c' } as const;
  return { ...base, disk: { ...base.disk, persistence: { id, principal: 'p' }, volume: made } };
}

function messageOf(operation: OfferOperation, context: Partial<OperationContext> = {}): string {
  const checked = checkOperation(operation, { ...CONTEXT, ...context });
  return checked.ok ? 'ok' : checked.message;
}

describe('stand-in operations', () => {
  it('RESERVE pushes one reservation, UNRESERVE pops it', () => {
    const reserve = checkOperation(
      { type: 'RESERVE', reserve: { resources: [space(10)] } },
      CONTEXT,
    );
    expect(reserve.ok && reserve.conversion.consumed[0]?.reservations).to.equal(undefined);
    const back = checkOperation(
      { type: 'UNRESERVE', unreserve: { resources: [space(10)] } },
      CONTEXT,
    );
    expect(back.ok && back.conversion.converted[0]?.reservations).to.equal(undefined);
  });

  it('RESERVE on a reserved resource, only below its role', () => {
    const refined = (role: string): Resource => ({
      ...space(10),
      allocation_info: { role },
      reservations: [
        { type: 'STATIC', role: 'storage' },
        { type: 'DYNAMIC', role, principal: 'p' },
      ],
    });
    const reserve = (role: string) =>
      messageOf({ type: 'RESERVE', reserve: { resources: [refined(role)] } });
    expect(reserve('storage/a')).to.equal('ok');
    expect(reserve('storage')).to.include('is not a refinement');
    expect(reserve('storagex')).to.include('is not a refinement');
  });

  it('CREATE: refused without a reservation, with a used id, read-only or with a host path', () => {
    const create = (made: Resource, total: readonly Resource[] = []) =>
      messageOf({ type: 'CREATE', create: { volumes: [made] } }, { total });
    const { reservations: _, ...unreserved } = volume(10, 'v');
    expect(create(volume(10, 'v'))).to.equal('ok');
    expect(create(unreserved)).to.include('cannot be created from unreserved');
    expect(create(volume(10, 'v'), [volume(10, 'v')])).to.equal("Persistence ID 'v' is not unique");
    const mounted = (extra: object): Resource => {
      const made = volume(10, 'v');
      const given = { mode: 'RW', container_path: 'c', ...extra } as const;
      return { ...made, disk: { ...made.disk, volume: given } };
    };
    expect(create(mounted({ mode: 'RO' }))).to.include('Read-only');
    expect(create(mounted({ host_path: '/x' }))).to.include('host_path');
  });

  it('DESTROY: refused while in use or unknown; gives the space back', () => {
    const operation: OfferOperation = { type: 'DESTROY', destroy: { volumes: [volume(10, 'v')] } };
    const total = [volume(10, 'v')];
    expect(messageOf(operation)).to.equal('Persistent volumes not found');
    expect(messageOf(operation, { total, used: total })).to.equal('Persistent volumes in use');
    const checked = checkOperation(operation, { ...CONTEXT, total });
    expect(checked.ok && checked.conversion.converted).to.deep.equal([space(10)]);
  });

  it('GROW and SHRINK: PATH only, exact sums', () => {
    const grow = (kind: 'PATH' | 'MOUNT'): OfferOperation => ({
      type: 'GROW_VOLUME',
      grow_volume: { volume: volume(10.1, 'v', kind), addition: space(0.2, kind) },
    });
    const grown = checkOperation(grow('PATH'), CONTEXT);
    expect(grown.ok && grown.conversion.converted[0]?.scalar?.value).to.equal(10.3);
    expect(messageOf(grow('MOUNT'))).to.include('Incompatible resources');
    const shrink = (subtract: number): OfferOperation => ({
      type: 'SHRINK_VOLUME',
      shrink_volume: { volume: volume(10, 'v'), subtract: { value: subtract } },
    });
    const shrunk = checkOperation(shrink(4), CONTEXT);
    expect(shrunk.ok && shrunk.conversion.converted.map((one) => one.scalar?.value)).to.deep.equal([
      6, 4,
    ]);
    expect(messageOf(shrink(10))).to.include('must be smaller');
    expect(messageOf(shrink(0))).to.include('must be greater');
  });

  it('ids: what Mesos refuses', () => {
    for (const bad of ['', '.', '..', 'a/b', 'a\\b', 'a\nb', 'x'.repeat(256)]) {
      expect(findIdError(bad), JSON.stringify(bad)).to.be.a('string');
    }
    for (const good of ['a', 'x'.repeat(255), 'a.b-c_d:e f']) {
      expect(findIdError(good), good).to.equal(undefined);
    }
  });
});
