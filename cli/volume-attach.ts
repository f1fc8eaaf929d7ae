/**
 * What `cistern volume attach|detach` do: ask, then wait until it is so, saying on stderr what the
 * wait is for. Only the result goes to stdout: `fio --uri=$(cistern volume attach db)` works.
 */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
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
  const attachment = await attachAndWait(cli, args);
  if (cli.isJson) {
    cli.show(attachment, () => '');
    return undefined;
  }
  const uri = chooseUri(attachment, args.transport);
  const { volumeName, node, hostname } = attachment;
  cli.explain(`Volume ${volumeName} is attached to ${node} (${hostname})`);
  for (const other of [attachment.unixUri, attachment.tcpUri]) {
    if (other !== null && other !== uri) cli.explain(`Also at ${other}`);
  }
  cli.terminal.print(uri);
  return undefined;
}

/** Asks again and again: attaching may be repeated, and moves on when a dead node's lease runs out. */
async function attachAndWait(cli: Cli, args: AttachArgs): Promise<AttachmentView> {
  const deadlineMs = performance.now() + readSeconds('--wait', args.wait) * 1000;
  let isForced = args.force;
  let lastReason = '';
  for (;;) {
    const leftMs = Math.max(0, deadlineMs - performance.now());
    const waitSeconds = Math.min(FIRST_WAIT_SECONDS, Math.floor(leftMs / 1000));
    const { status, body } = await cli.api.send<AttachmentView>(
      'POST',
      `${volumePath(args.volume)}/attach?wait=${waitSeconds}`,
      {
        body: { force: isForced, ...(args.node === undefined ? {} : { node: args.node }) },
        waitMs: waitSeconds * 1000,
      },
    );
    if (status === 200) return body;
    // The force is for the node that had it when the operator asked, not for the next one.
    isForced = false;
    const reason = body.reason || `it is ${body.state} on ${body.node}`;
    if (reason !== lastReason) cli.explain(`Waiting: ${reason}`);
    lastReason = reason;
    if (performance.now() + POLL_MS >= deadlineMs) {
      throw failure(
        `Volume "${body.volumeName}" does not serve on ${body.node} yet: ${reason}`,
        `attaching goes on; "cistern volume show ${body.volumeName}" shows it, --wait 5m waits longer`,
      );
    }
    await sleep(POLL_MS);
  }
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
