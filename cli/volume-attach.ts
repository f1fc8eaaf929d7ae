/**
 * What `cistern volume attach|detach` do: ask, then wait until it is so, saying on stderr what the
 * wait is for. Only the result goes to stdout: `fio --uri=$(cistern volume attach db)` works.
 */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { StorageError } from '../shared/base/errors.ts';
import type { AttachmentView, VolumeView } from '../shared/model/api-views.ts';
import type { Cli } from './cli.ts';
import { failure } from './failures.ts';
import { readSeconds } from './quantities.ts';
import { type VolumeArgs, volumePath } from './volume-actions.ts';

/** The API is asked to wait this long at first; longer waits say on the way what they wait for. */
const FIRST_WAIT_SECONDS = 3;
const POLL_MS = 500;

type Transport = 'auto' | 'unix' | 'tcp';

export interface AttachArgs extends VolumeArgs {
  readonly node: string | undefined;
  readonly force: boolean;
  readonly transport: Transport;
  readonly wait: string;
}

export async function attachVolume(cli: Cli, args: AttachArgs): Promise<undefined> {
  const waitMs = readSeconds('--wait', args.wait) * 1000;
  const deadlineMs = performance.now() + waitMs;
  const firstSeconds = Math.min(FIRST_WAIT_SECONDS, Math.floor(waitMs / 1000));
  const { body } = await cli.api.send<AttachmentView>(
    'POST',
    `${volumePath(args.volume)}/attach?wait=${firstSeconds}`,
    {
      body: { force: args.force, ...(args.node === undefined ? {} : { node: args.node }) },
      waitMs: firstSeconds * 1000,
    },
  );
  const attachment = await waitServing(cli, body, deadlineMs);
  if (cli.isJson) {
    cli.show(attachment, () => '');
    return undefined;
  }
  const uri = chooseUri(attachment, args.transport);
  cli.explain(
    `Volume ${attachment.volumeName} is attached to ${attachment.node} (${attachment.hostname})`,
  );
  for (const other of [attachment.unixUri, attachment.tcpUri]) {
    if (other !== null && other !== uri) cli.explain(`Also at ${other}`);
  }
  cli.terminal.print(uri);
  return undefined;
}

async function waitServing(
  cli: Cli,
  first: AttachmentView,
  deadlineMs: number,
): Promise<AttachmentView> {
  let attachment = first;
  let lastReason = '';
  while (attachment.state !== 'serving') {
    const reason = attachment.reason || `it is ${attachment.state}`;
    if (reason !== lastReason) cli.explain(`Waiting: ${reason}`);
    lastReason = reason;
    if (performance.now() >= deadlineMs) {
      throw failure(
        `Volume "${attachment.volumeName}" does not serve on ${attachment.node} yet: ${reason}`,
        `attaching goes on; "cistern volume show ${attachment.volumeName}" shows it, --wait 5m waits longer`,
      );
    }
    await sleep(POLL_MS);
    const volume = await cli.api.get<VolumeView>(volumePath(attachment.volume));
    if (volume.attachment === null) {
      throw new StorageError(
        'conflict',
        `Volume "${volume.name}" was detached by somebody else before it served`,
      );
    }
    attachment = volume.attachment;
  }
  return attachment;
}

/** The socket is faster, and only there on the node itself. */
function chooseUri(attachment: AttachmentView, transport: Transport): string {
  const { unixUri, tcpUri } = attachment;
  const isHere = unixUri !== null && isSocketHere(unixUri);
  const preferred = transport === 'unix' || (transport === 'auto' && isHere) ? unixUri : tcpUri;
  const uri = preferred ?? (transport === 'auto' ? unixUri : null);
  if (uri !== null) return uri;
  throw failure(
    `Node ${attachment.node} offers no ${transport} address for volume "${attachment.volumeName}"`,
    'without --transport the other one is taken',
  );
}

function isSocketHere(uri: string): boolean {
  const socket = URL.canParse(uri) ? new URL(uri).searchParams.get('socket') : null;
  return socket !== null && existsSync(socket);
}

export interface DetachArgs extends VolumeArgs {
  readonly force: boolean;
  readonly wait: string;
}

export async function detachVolume(cli: Cli, args: DetachArgs): Promise<undefined> {
  const waitMs = readSeconds('--wait', args.wait) * 1000;
  const deadlineMs = performance.now() + waitMs;
  const firstSeconds = Math.min(FIRST_WAIT_SECONDS, Math.floor(waitMs / 1000));
  const { body } = await cli.api.send<VolumeView>(
    'POST',
    `${volumePath(args.volume)}/detach?wait=${firstSeconds}`,
    { body: { force: args.force }, waitMs: firstSeconds * 1000 },
  );
  let volume = body;
  let lastReason = '';
  while (volume.attachment !== null) {
    const { node, reason } = volume.attachment;
    const shown = reason || `${node} finishes what clients have begun`;
    if (shown !== lastReason) cli.explain(`Waiting: ${shown}`);
    lastReason = shown;
    if (performance.now() >= deadlineMs) {
      throw failure(
        `Volume "${volume.name}" is still attached to ${node}: ${shown}`,
        'detaching goes on; when that node is dead, --force cuts it off',
      );
    }
    await sleep(POLL_MS);
    volume = await cli.api.get<VolumeView>(volumePath(volume.id));
  }
  cli.show(volume, () => `Volume ${volume.name} is detached.`);
  return undefined;
}
