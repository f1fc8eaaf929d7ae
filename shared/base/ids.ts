/**
 * Identifiers. Nodes, disks, volumes and placement groups are numbered by the manager, never reused,
 * and travel as unsigned 32-bit numbers; people see them with a letter: `n3`, `d7`, `v5`, `pg12`.
 */

declare const brand: unique symbol;
type Id<Name extends string> = number & { readonly [brand]: Name };

export type NodeId = Id<'NodeId'>;
export type DiskId = Id<'DiskId'>;
export type VolumeId = Id<'VolumeId'>;
export type PgId = Id<'PgId'>;
export type JobId = Id<'JobId'>;

export const ID_MAX = 0xffff_ffff;

function isId(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= ID_MAX;
}

function make(letter: string, value: number): number {
  if (!isId(value))
    throw new RangeError(`Identifier ${letter}${value} is not an unsigned 32-bit number`);
  return value;
}

export const nodeId = (value: number): NodeId => make('n', value) as NodeId;
export const diskId = (value: number): DiskId => make('d', value) as DiskId;
export const volumeId = (value: number): VolumeId => make('v', value) as VolumeId;
export const pgId = (value: number): PgId => make('pg', value) as PgId;
export const jobId = (value: number): JobId => make('j', value) as JobId;

export const formatNode = (id: NodeId): string => `n${id}`;
export const formatDisk = (id: DiskId): string => `d${id}`;
export const formatVolume = (id: VolumeId): string => `v${id}`;
export const formatPg = (id: PgId): string => `pg${id}`;
export const formatJob = (id: JobId): string => `j${id}`;

function parse(letter: string, text: string): number | null {
  if (!text.startsWith(letter)) return null;
  const digits = text.slice(letter.length);
  if (!/^(0|[1-9]\d{0,9})$/.test(digits)) return null;
  const value = Number(digits);
  return isId(value) ? value : null;
}

export const parseNode = (text: string): NodeId | null => parse('n', text) as NodeId | null;
export const parseDisk = (text: string): DiskId | null => parse('d', text) as DiskId | null;
export const parseVolume = (text: string): VolumeId | null => parse('v', text) as VolumeId | null;
export const parsePg = (text: string): PgId | null => parse('pg', text) as PgId | null;
export const parseJob = (text: string): JobId | null => parse('j', text) as JobId | null;
