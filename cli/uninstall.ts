/** `cistern uninstall`: gives the whole cluster back to Mesos; `--plan` only says what that means. */
import type { UninstallView } from '../shared/model/api-views.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import { failure } from './failures.ts';
import { colorState } from './figures.ts';
import { renderTable } from './table.ts';

interface UninstallArgs {
  readonly plan: boolean;
  readonly yes: string | undefined;
  readonly force: boolean;
}

export function addUninstallCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command(
    'uninstall',
    'Give every reservation back to Mesos: all data is destroyed',
    (one) =>
      one
        .option('plan', {
          type: 'boolean',
          default: false,
          describe: 'Only say what would be done, or how far it is',
        })
        .option('yes', {
          type: 'string',
          requiresArg: true,
          describe: "The cluster's name, instead of being asked for it",
        })
        .option('force', {
          type: 'boolean',
          default: false,
          describe: 'Although volumes exist: their data is destroyed',
        }),
    runAction<UninstallArgs>(uninstall),
  );
}

async function uninstall(cli: Cli, args: UninstallArgs): Promise<undefined> {
  const before = await cli.api.get<UninstallView>('/uninstall');
  if (args.plan || before.state !== 'none') {
    cli.show(before, () => render(cli, before));
    return;
  }
  const name = args.yes ?? (await ask(cli, before));
  const body = { name, isForced: args.force };
  const answer = await cli.api.send<UninstallView>('POST', '/uninstall', { body });
  cli.show(
    answer.body,
    () =>
      `${render(cli, answer.body)}\n\nIt goes on by itself, also after a restart of the scheduler; "cistern uninstall --plan" shows how far it is.`,
  );
}

async function ask(cli: Cli, plan: UninstallView): Promise<string> {
  // Other commands go on where nobody can be asked; what this one does has no way back.
  if (!cli.terminal.canAsk) {
    throw failure('Nothing was done: nobody can be asked here', 'name the cluster with --yes NAME');
  }
  cli.explain(render(cli, plan));
  const { clusterName } = plan;
  const question = `Type "${clusterName}" to destroy all its data and give everything back: `;
  if (await cli.terminal.confirm(question, clusterName)) return clusterName;
  throw failure('Nothing was done', 'to see what would be: cistern uninstall --plan');
}

function render(cli: Cli, plan: UninstallView): string {
  const { colors } = cli.terminal;
  const title =
    plan.state === 'none'
      ? `Uninstalling cluster "${plan.clusterName}" would, in this order:`
      : `Cluster "${plan.clusterName}" is being uninstalled (${plan.state}):`;
  const table = renderTable(
    [
      { title: 'step', read: (step) => step.name },
      { title: 'state', read: (step) => colorState(step.state, colors) },
      { title: 'what', read: (step) => step.detail },
    ],
    plan.steps,
    colors,
  );
  const blocked = plan.blockers.map((text) => `Refused: ${text}`);
  return [title, table, ...blocked].join('\n\n');
}
