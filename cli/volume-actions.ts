/** What `cistern volume create|list|show|set|delete` do. */
import { formatBytes } from '../shared/base/units.ts';
import type { VolumeView } from '../shared/model/api-views.ts';
import type { Durability } from '../shared/model/cluster-map.ts';
import type { Cli } from './cli.ts';
import { failure, usageError } from './failures.ts';
import {
  colorState,
  formatAge,
  formatIo,
  formatRatio,
  healthSign,
  reasonLines,
} from './figures.ts';
import { readCount, readSize } from './quantities.ts';
import { renderFacts, renderTable } from './table.ts';

/** The API answers 202 after this when the space is still being given back. */
const DELETE_WAIT_SECONDS = 15;

export interface VolumeArgs {
  readonly volume: string;
}

export function volumePath(volume: string): string {
  return `/volumes/${encodeURIComponent(volume)}`;
}

export interface CreateArgs {
  readonly name: string;
  readonly size: string;
  readonly replicas: string | undefined;
  readonly pool: string | undefined;
  readonly durability: Durability | undefined;
}

export async function createVolume(cli: Cli, args: CreateArgs): Promise<undefined> {
  const body = {
    name: args.name,
    sizeBytes: readSize('--size', args.size),
    ...(args.replicas === undefined ? {} : { replicas: readCount('--replicas', args.replicas, 1) }),
    ...(args.pool === undefined ? {} : { pool: args.pool }),
    ...(args.durability === undefined ? {} : { durability: args.durability }),
  };
  const { body: volume } = await cli.api.send<VolumeView>('POST', '/volumes', { body });
  cli.show(
    volume,
    () =>
      `Volume ${volume.name} (${volume.id}): ${formatBytes(volume.sizeBytes)}, ${volume.replicas} replicas, in pool ${volume.pool}.`,
  );
  cli.explain(`Attach it with: cistern volume attach ${volume.name}`);
}

export async function setVolume(
  cli: Cli,
  args: VolumeArgs & { readonly durability: Durability | undefined },
): Promise<undefined> {
  const { durability } = args;
  if (durability === undefined) {
    throw usageError(
      'Nothing to change',
      '"cistern volume set --help" lists the settings, for example: --durability writethrough',
    );
  }
  const path = volumePath(args.volume);
  const { body: volume } = await cli.api.send<VolumeView>('PATCH', path, { body: { durability } });
  cli.show(volume, () => `Volume ${volume.name} (${volume.id}): durability ${volume.durability}.`);
}

export async function listVolumes(cli: Cli): Promise<undefined> {
  const volumes = await cli.api.get<readonly VolumeView[]>('/volumes');
  cli.show(volumes, () => {
    const { colors } = cli.terminal;
    if (volumes.length === 0) {
      return 'No volumes yet. Create one with: cistern volume create NAME --size 10G';
    }
    return renderTable(
      [
        { title: 'volume', read: (volume) => volume.id },
        { title: 'name', read: (volume) => volume.name },
        { title: 'size', isNumber: true, read: (volume) => formatBytes(volume.sizeBytes) },
        { title: 'stored', isNumber: true, read: (volume) => formatBytes(volume.usedBytes) },
        { title: 'replicas', isNumber: true, read: (volume) => String(volume.replicas) },
        { title: 'pool', read: (volume) => volume.pool },
        { title: 'health', read: (volume) => healthSign(volume.health, colors) },
        { title: 'state', read: (volume) => colorState(volume.state, colors) },
        { title: 'node', read: (volume) => volume.attachment?.node ?? '–' },
        {
          title: 'i/o',
          read: ({ attachment }) => (attachment === null ? '–' : formatIo(attachment.io)),
        },
      ],
      volumes,
      colors,
    );
  });
}

export async function showVolume(cli: Cli, args: VolumeArgs): Promise<undefined> {
  const volume = await cli.api.get<VolumeView>(volumePath(args.volume));
  cli.show(volume, () => renderVolume(cli, volume));
}

function renderVolume(cli: Cli, volume: VolumeView): string {
  const { colors } = cli.terminal;
  const { attachment } = volume;
  const facts: [string, string][] = [
    ['Volume', `${colors.bold(volume.name)} (${volume.id}) in pool ${volume.pool}`],
    ['Health', healthSign(volume.health, colors)],
    ...reasonLines(volume.reasons, volume.health, colors).map((line): [string, string] => [
      '',
      line,
    ]),
    ['State', colorState(volume.state, colors)],
    [
      'Size',
      `${formatBytes(volume.sizeBytes)}, ${formatBytes(volume.usedBytes)} stored (${formatRatio(volume.usedBytes / volume.sizeBytes)}) × ${volume.replicas} replicas`,
    ],
    ['Durability', describeDurability(volume.durability)],
    ['Created', formatAge(volume.createdAt, cli.now)],
  ];
  if (attachment !== null) {
    const state = colorState(attachment.state, colors);
    facts.push(
      ['Attached to', `${attachment.node} (${attachment.hostname}), ${state}`],
      ...(attachment.reason === '' ? [] : [['', attachment.reason] as [string, string]]),
      ['NBD, on that node', attachment.unixUri ?? '–'],
      ['NBD, over TCP', attachment.tcpUri ?? '–'],
      ['Clients', String(attachment.clientCount)],
      ['I/O', formatIo(attachment.io)],
      ['Generation', String(attachment.generation)],
    );
  }
  return renderFacts(facts, colors);
}

function describeDurability(durability: Durability): string {
  return durability === 'flush'
    ? 'flush: what the client flushed survives power loss of all nodes'
    : 'writethrough: every acknowledged write survives power loss of all nodes';
}

export interface DeleteArgs extends VolumeArgs {
  readonly force: boolean;
  readonly yes: boolean;
}

export async function deleteVolume(cli: Cli, args: DeleteArgs): Promise<undefined> {
  const volume = await cli.api.get<VolumeView>(volumePath(args.volume));
  if (!args.yes) {
    const { name } = volume;
    const where = volume.attachment === null ? '' : `, ATTACHED to ${volume.attachment.node}`;
    const question = `Volume ${name} (${volume.id}${where}) and ${formatBytes(volume.usedBytes)} of data will be gone for ever.\nType "${name}" to delete it: `;
    if (!(await cli.terminal.confirm(question, name))) {
      throw failure('Nothing was deleted', `to delete it without a question: --yes`);
    }
  }
  const query = `wait=${DELETE_WAIT_SECONDS}&force=${args.force}`;
  const { status } = await cli.api.send<VolumeView>('DELETE', `${volumePath(volume.id)}?${query}`, {
    waitMs: DELETE_WAIT_SECONDS * 1000,
  });
  const isGone = status === 204;
  cli.show({ volume: volume.id, name: volume.name, isGone }, () =>
    isGone
      ? `Volume ${volume.name} is gone.`
      : `Volume ${volume.name} is being deleted; its space comes back over the next minutes.`,
  );
}
