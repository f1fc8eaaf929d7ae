/** `cistern volume …`: create, list, show, set, attach, detach, delete. */
import { DURABILITIES, type Durability } from '../shared/model/cluster-map.ts';
import type { GlobalArgv } from './cli.ts';
import { runAction } from './cli.ts';
import {
  createVolume,
  deleteVolume,
  listVolumes,
  setVolume,
  showVolume,
  type VolumeArgs,
} from './volume-actions.ts';
import { attachVolume, detachVolume } from './volume-attach.ts';

const VOLUME = { describe: 'Id (v5) or name', type: 'string', demandOption: true } as const;
const DURABILITY = {
  choices: DURABILITIES,
  describe: 'Which writes survive power loss of all nodes: flushed ones (default), or all',
} as const;
const WAIT = {
  type: 'string',
  requiresArg: true,
  default: '60s',
  describe: 'How long to wait, like 90s or 5m',
} as const;

export function addVolumeCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command('volume', 'Volumes: create, list, attach, delete', (volume) =>
    addAttachments(addBasics(volume)).demandCommand(
      1,
      'What about volumes? create, list, show, set, attach, detach or delete',
    ),
  );
}

function addBasics(parser: GlobalArgv): GlobalArgv {
  return parser
    .command(
      'create <name>',
      'Create a volume',
      (one) =>
        one
          .positional('name', { describe: 'Name', type: 'string', demandOption: true })
          .option('size', {
            type: 'string',
            requiresArg: true,
            demandOption: true,
            describe: 'Like 10G or 1.5TiB',
          })
          .option('replicas', {
            type: 'string',
            requiresArg: true,
            describe: "Copies of the data; else the pool's default",
          })
          .option('pool', { type: 'string', requiresArg: true, describe: 'Else the default pool' })
          .option('durability', DURABILITY)
          .example('$0 volume create db --size 10G --replicas 3', ''),
      runAction<{
        name: string;
        size: string;
        replicas: string | undefined;
        pool: string | undefined;
        durability: Durability | undefined;
      }>(createVolume),
    )
    .command('list', 'All volumes', (one) => one, runAction(listVolumes))
    .command(
      'show <volume>',
      'One volume',
      (one) => one.positional('volume', VOLUME),
      runAction<VolumeArgs>(showVolume),
    )
    .command(
      'set <volume>',
      'Change settings, also while it is attached',
      (one) =>
        one
          .positional('volume', VOLUME)
          .option('durability', DURABILITY)
          .example('$0 volume set db --durability writethrough', ''),
      runAction<VolumeArgs & { durability: Durability | undefined }>(setVolume),
    )
    .command(
      'delete <volume>',
      'Delete a volume and all its data',
      (one) =>
        one
          .positional('volume', VOLUME)
          .option('force', {
            type: 'boolean',
            default: false,
            describe: 'Also when it is attached',
          })
          .option('yes', { type: 'boolean', default: false, describe: 'Do not ask' }),
      runAction<VolumeArgs & { force: boolean; yes: boolean }>(deleteVolume),
    );
}

function addAttachments(parser: GlobalArgv): GlobalArgv {
  return parser
    .command(
      'attach <volume>',
      'Attach a volume; prints the address for NBD clients and nothing else',
      (one) =>
        one
          .positional('volume', VOLUME)
          .option('node', {
            type: 'string',
            requiresArg: true,
            describe: 'Where (id or hostname); else the cluster picks',
          })
          .option('force', {
            type: 'boolean',
            default: false,
            describe: 'Your word that the node where it is attached now is dead',
          })
          .option('transport', {
            choices: ['auto', 'unix', 'tcp'] as const,
            default: 'auto' as const,
            describe: 'Which address; auto: the socket when it is on this machine',
          })
          .option('wait', WAIT)
          .example('fio --uri=$($0 volume attach db) …', ''),
      runAction<
        VolumeArgs & {
          node: string | undefined;
          force: boolean;
          transport: 'auto' | 'unix' | 'tcp';
          wait: string;
        }
      >(attachVolume),
    )
    .command(
      'detach <volume>',
      'Detach a volume from its node',
      (one) =>
        one
          .positional('volume', VOLUME)
          .option('force', {
            type: 'boolean',
            default: false,
            describe: 'Also when its node does not answer',
          })
          .option('wait', WAIT),
      runAction<VolumeArgs & { force: boolean; wait: string }>(detachVolume),
    );
}
