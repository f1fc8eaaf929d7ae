/** What an agent of the stand-in is made of, as its user says it, and as Mesos describes it. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { AgentInfo, Attribute, Resource } from '../../shared/mesos/messages.ts';
import type { AgentAddress } from './sandbox.ts';

export type DiskSpec = {
  readonly kind: 'mount' | 'path' | 'root';
  readonly sizeMb: number;
  /** Missing: a directory of the stand-in's own. Not used for the root disk. */
  readonly path?: string | undefined;
};

export type AgentSpec = {
  readonly name: string;
  /** Default: the name. */
  readonly hostname?: string | undefined;
  /** Address to listen on. Default: that of the master. */
  readonly ip?: string | undefined;
  /** Default: `region1`. */
  readonly region?: string | undefined;
  /** Missing: the agent has no fault domain. */
  readonly zone?: string | undefined;
  /** Numbers become SCALAR attributes, strings TEXT. */
  readonly attributes?: Readonly<Record<string, string | number>> | undefined;
  readonly cpus: number;
  readonly mem: number;
  readonly ports?: { readonly begin: number; readonly end: number } | undefined;
  readonly disks: readonly DiskSpec[];
  /** Everything is reserved to this role by the agent's configuration. */
  readonly staticRole?: string | undefined;
};

export const REGION_DEFAULT = 'region1';
const PORTS_DEFAULT = { begin: 31000, end: 31999 };

/** Makes the disk directories that the spec does not name, and returns the spec with all paths. */
export function prepareDisks(spec: AgentSpec, directory: string): AgentSpec {
  const disks = spec.disks.map((disk, index) => {
    if (disk.kind === 'root') return disk;
    const path = disk.path ?? join(directory, `disk${index + 1}`);
    mkdirSync(path, { recursive: true });
    return { ...disk, path };
  });
  return { ...spec, disks };
}

/** What the agent offers before anything is reserved. */
export function baseResources(spec: AgentSpec): Resource[] {
  const ports = spec.ports ?? PORTS_DEFAULT;
  const { staticRole: role } = spec;
  const free: Resource[] = [
    { name: 'cpus', type: 'SCALAR', scalar: { value: spec.cpus } },
    { name: 'mem', type: 'SCALAR', scalar: { value: spec.mem } },
    { name: 'ports', type: 'RANGES', ranges: { range: [ports] } },
    ...spec.disks.map(diskResource),
  ];
  if (role === undefined) return free;
  return free.map((one) => ({ ...one, reservations: [{ type: 'STATIC', role }] }));
}

function diskResource(disk: DiskSpec): Resource {
  const space: Resource = { name: 'disk', type: 'SCALAR', scalar: { value: disk.sizeMb } };
  if (disk.kind === 'path') {
    return { ...space, disk: { source: { type: 'PATH', path: { root: disk.path } } } };
  }
  if (disk.kind === 'mount') {
    return { ...space, disk: { source: { type: 'MOUNT', mount: { root: disk.path } } } };
  }
  return space;
}

export function hostnameOf(spec: AgentSpec): string {
  return spec.hostname ?? spec.name;
}

export function agentInfo(spec: AgentSpec, address: AgentAddress): AgentInfo {
  const region = spec.region ?? REGION_DEFAULT;
  return {
    hostname: hostnameOf(spec),
    port: address.port,
    resources: baseResources(spec),
    attributes: Object.entries(spec.attributes ?? {}).map(toAttribute),
    id: address.id === '' ? undefined : { value: address.id },
    domain:
      spec.zone === undefined
        ? undefined
        : { fault_domain: { region: { name: region }, zone: { name: spec.zone } } },
  };
}

function toAttribute([name, value]: readonly [string, string | number]): Attribute {
  return typeof value === 'number'
    ? { name, type: 'SCALAR', scalar: { value } }
    : { name, type: 'TEXT', text: { value } };
}
