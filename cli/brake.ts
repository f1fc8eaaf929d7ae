/** `cistern brake …`: show and release the brake on mass failure. */
import type { ClusterView } from '../shared/model/api-views.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import { formatAge } from './figures.ts';

export function addBrakeCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command(
    'brake',
    'Re-replication waits while much of the cluster is away at once',
    (brake) =>
      brake
        .command('show', 'Whether it holds, since when and why', (one) => one, runAction(show))
        .command(
          'release',
          'Your word that what went together will not come back soon: rebuild it now',
          (one) => one,
          runAction(release),
        )
        .demandCommand(1, 'What about the brake? show or release'),
  );
}

function describe(cli: Cli, { brake }: ClusterView): string {
  if (brake === null) return 'The brake holds nothing back.';
  const age = formatAge(brake.since, cli.now);
  return brake.state === 'engaged'
    ? `Re-replication waits since ${age}: ${brake.reason}.\n"cistern explain brake" says more, "cistern brake release" lets it go on.`
    : `The brake was released: re-replication goes on although ${brake.reason} (${age}).`;
}

async function show(cli: Cli): Promise<undefined> {
  const cluster = await cli.api.get<ClusterView>('/cluster');
  cli.show(cluster.brake, () => describe(cli, cluster));
}

async function release(cli: Cli): Promise<undefined> {
  const { body } = await cli.api.send<ClusterView>('POST', '/cluster/brake/release');
  cli.show(body.brake, () => describe(cli, body));
}
