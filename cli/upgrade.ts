/** `cistern upgrade …`: which versions the executors run; start, pause, resume, roll back. */
import type { UpgradeView } from '../shared/model/api-views.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import { colorState, plural } from './figures.ts';
import { renderFacts, renderTable } from './table.ts';

export function addUpgradeCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command('upgrade', 'Executors: upgraded node by node, without an outage', (one) =>
    one
      .command('status', 'Versions, and how far an upgrade is', (it) => it, runAction(showUpgrade))
      .command(
        'start',
        'Restart the executors with the version that this scheduler brings, one node at a time',
        (it) => it,
        runAction((cli) => act(cli, 'start')),
      )
      .command(
        'pause',
        'No further node; the one in work is finished',
        (it) => it,
        runAction((cli) => act(cli, 'pause')),
      )
      .command(
        'resume',
        'Go on after a pause, or after trouble',
        (it) => it,
        runAction((cli) => act(cli, 'resume')),
      )
      .command(
        'rollback',
        'Back to the version before, one node at a time',
        (it) => it,
        runAction((cli) => act(cli, 'rollback')),
      )
      .demandCommand(1, 'What about the upgrade? status, start, pause, resume or rollback'),
  );
}

async function showUpgrade(cli: Cli): Promise<undefined> {
  const upgrade = await cli.api.get<UpgradeView>('/upgrade');
  cli.show(upgrade, () => render(cli, upgrade));
}

async function act(
  cli: Cli,
  action: 'start' | 'pause' | 'resume' | 'rollback',
): Promise<undefined> {
  const { body } = await cli.api.send<UpgradeView>('POST', '/upgrade', { body: { action } });
  cli.show(body, () => render(cli, body));
}

const WORDS: Readonly<Record<UpgradeView['state'], string>> = {
  none: 'all executors run what this scheduler brings',
  available: 'not started; start it with: cistern upgrade start',
  running: 'running',
  paused: 'paused; go on with: cistern upgrade resume',
  stopped: 'stopped by trouble; cistern upgrade resume, or rollback',
  done: 'done',
};

function render(cli: Cli, upgrade: UpgradeView): string {
  const { colors } = cli.terminal;
  const done = upgrade.nodes.filter((node) => node.state === 'done').length;
  const direction = upgrade.isRollback ? 'rollback' : 'upgrade';
  const facts = renderFacts(
    [
      ['Scheduler brings', upgrade.version],
      [
        'State',
        `${upgrade.target === null ? '' : `${direction} to ${upgrade.target}: `}${WORDS[upgrade.state]}`,
      ],
      ['Nodes', `${done} of ${plural(upgrade.nodes.length, 'node')} done`],
      ...(upgrade.reason === '' ? [] : [['Now', upgrade.reason] as const]),
    ],
    colors,
  );
  const table = renderTable(
    [
      { title: 'node', read: (node) => node.node },
      { title: 'host', read: (node) => node.hostname },
      { title: 'version', read: (node) => node.version },
      { title: 'state', read: (node) => colorState(node.state, colors) },
    ],
    upgrade.nodes,
    colors,
  );
  return upgrade.nodes.length === 0 ? facts : `${facts}\n\n${table}`;
}
