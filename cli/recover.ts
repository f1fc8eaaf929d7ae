/**
 * `cistern recover`: a new metadata store from what executors and disks remember, when the old one is
 * lost. Needs no running cluster; the work is done in `recovery/`, which is loaded only when it is used.
 */
import { join } from 'node:path';
import type { Decision, RecoveryPlan } from '../recovery/decision.ts';
import type { RecoverOutcome } from '../recovery/recover.ts';
import { invalidField } from '../shared/base/errors.ts';
import { type NodeId, parseNode } from '../shared/base/ids.ts';
import { formatBytes } from '../shared/base/units.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import { EXIT_FAILED, EXIT_OK, usageError } from './failures.ts';
import { renderFacts, renderTable } from './table.ts';

interface RecoverArgs {
  readonly fromExecutors: boolean;
  readonly executor: readonly string[];
  readonly from: readonly string[];
  readonly store: string | undefined;
  readonly stateDir: string | undefined;
  readonly plan: boolean;
  readonly acceptMissing: string | undefined;
  readonly acceptDoubt: boolean;
  readonly scratch: string | undefined;
}

const HELP = `Make a new metadata store for a cluster whose own is lost.

Executors and disks go on meanwhile; volumes stay attached. In this order:
  1. See that no scheduler runs, and keep what is left of the old store elsewhere.
  2. cistern recover --from-executors --executor HOST:PORT --plan     shows what would be written
  3. the same without --plan                                          writes it
  4. Start the scheduler on that directory, with the same --name and --master as before.

One executor is enough: it names the others. Its address is in its log ("Answering
grants and recoveries"); or name a disk of any node with --from: the map that lies
there has all addresses. Nothing is guessed: what cannot be told is refused, with
the reason and what to do about it.`;

export function addRecoverCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command(
    'recover',
    'Make a new metadata store from what executors and disks remember, when the old one is lost',
    (recover) =>
      recover
        .usage(HELP)
        // Several executors and directories: elsewhere the last of several words counts.
        .parserConfiguration({ 'duplicate-arguments-array': true })
        .option('from-executors', {
          type: 'boolean',
          default: false,
          describe: 'Ask the executors (and read the disks named with --from)',
        })
        .option('executor', {
          type: 'string',
          array: true,
          requiresArg: true,
          default: [],
          describe: 'An executor, host:port; may be given several times',
        })
        .option('from', {
          type: 'string',
          array: true,
          requiresArg: true,
          default: [],
          describe: 'Directory of a disk, or one above several; they are only read',
        })
        .option('store', {
          type: 'string',
          requiresArg: true,
          describe: 'Address of the new store (zk://…, etcd://…), an empty path',
        })
        .option('state-dir', {
          type: 'string',
          requiresArg: true,
          describe: 'Directory of the new store; else CISTERN_STATE_DIR, else ./cistern-state',
        })
        .option('plan', {
          type: 'boolean',
          default: false,
          describe: 'Only show what would be written',
        })
        .option('accept-missing', {
          type: 'string',
          requiresArg: true,
          describe: 'Nodes that are lost for good, like n3,n4',
        })
        .option('accept-doubt', {
          type: 'boolean',
          default: false,
          describe: 'Last resort: the likeliest members where they cannot be told',
        })
        .option('scratch', {
          type: 'string',
          requiresArg: true,
          describe: "Directory for copies of disks' indexes; else the system's",
        }),
    runAction<RecoverArgs>(recoverCluster),
  );
}

async function recoverCluster(cli: Cli, args: RecoverArgs): Promise<number> {
  if (args.executor.length + args.from.length === 0) {
    throw usageError(
      'Nobody to ask: name an executor (--executor HOST:PORT) or a directory of disks (--from DIR)',
      'cistern recover --help',
    );
  }
  const { recover } = await import('../recovery/recover.ts');
  const stateDirectory =
    args.stateDir ?? cli.environment['CISTERN_STATE_DIR'] ?? join(process.cwd(), 'cistern-state');
  const outcome = await recover(
    {
      executors: args.executor,
      folders: args.from,
      store: storeOf(cli, args),
      stateDirectory,
      environment: cli.environment,
      scratchDirectory: args.scratch ?? null,
      choices: {
        acceptedMissing: readNodes(args.acceptMissing),
        isDoubtAccepted: args.acceptDoubt,
        nowMs: cli.now,
      },
      isPlanOnly: args.plan,
    },
    (text) => cli.explain(text),
  );
  for (const problem of outcome.problems) cli.explain(`• ${problem}`);
  cli.show(viewOf(outcome, stateDirectory), () => render(cli, outcome, stateDirectory));
  return outcome.decision.kind === 'plan' ? EXIT_OK : EXIT_FAILED;
}

/** Options win over the environment; `embedded` is the default anyway. */
function storeOf(cli: Cli, { store, stateDir }: RecoverArgs): string | null {
  const variable = stateDir === undefined ? cli.environment['CISTERN_STORE'] : undefined;
  const given = store ?? variable ?? '';
  return given === '' || given === 'embedded' ? null : given;
}

function readNodes(given: string | undefined): readonly NodeId[] {
  if (given === undefined) return [];
  return given.split(',').map((text) => {
    const id = parseNode(text.trim());
    if (id === null) throw invalidField('--accept-missing', given, 'nodes like n3,n4');
    return id;
  });
}

/** Without the records themselves: they may be many. */
function viewOf(outcome: RecoverOutcome, stateDirectory: string): object {
  return { ...outcome, decision: decisionView(outcome.decision), stateDirectory };
}

function decisionView(decision: Decision): object {
  if (decision.kind === 'refused') return decision;
  const { entries, ...plan } = decision;
  return { ...plan, recordCount: entries.length };
}

function render(cli: Cli, outcome: RecoverOutcome, stateDirectory: string): string {
  const { colors } = cli.terminal;
  const { decision } = outcome;
  if (decision.kind === 'refused') {
    const lines = decision.refusals.flatMap(({ what, remedy }) => [
      `${colors.red('•')} ${what}`,
      `  ${colors.dim('→')} ${remedy}`,
    ]);
    return [`${colors.red('Refused')}; nothing was written.`, ...lines].join('\n');
  }
  const where = outcome.storeName ?? stateDirectory;
  const setting = where.includes('://') ? `CISTERN_STORE=${where}` : `CISTERN_STATE_DIR=${where}`;
  const next = outcome.isWritten
    ? `${colors.green('Written')} to ${where}. Now start the scheduler on it: ${setting}, CISTERN_NAME=${decision.clusterName}`
    : `${colors.yellow('Nothing was written')} (--plan); without it this goes to ${where}`;
  return [renderPlan(cli, decision), '', next].join('\n');
}

function renderPlan(cli: Cli, plan: RecoveryPlan): string {
  const { basedOn, changes } = plan;
  const rows: readonly (readonly [string, string])[] = [
    ['cluster', `"${plan.clusterName}" ${plan.clusterId}`],
    ['framework', plan.frameworkId ?? 'none yet'],
    ['map', `${basedOn.version} of term ${basedOn.term}, ${when(basedOn.writtenAtMs)}`],
    ['confirmed by', basedOn.sources.join(', ')],
    ['nodes', plan.nodes.join(', ')],
    ['missing', plan.missingNodes.length === 0 ? 'none' : plan.missingNodes.join(', ')],
    ['PGs', String(plan.pgCount)],
    ['new term', `above ${plan.term}`],
    ['records', String(plan.entries.length)],
  ];
  const { colors } = cli.terminal;
  const volumes = renderTable(
    [
      { title: 'volume', read: ({ id }) => id },
      { title: 'name', read: ({ name }) => name },
      { title: 'size', read: ({ sizeBytes }) => formatBytes(sizeBytes) },
    ],
    plan.volumes,
    colors,
  );
  return [
    renderFacts(rows, colors),
    '',
    plan.volumes.length === 0 ? 'No volumes.' : volumes,
    '',
    changes.length === 0
      ? 'All members, epochs and generations as in the map.'
      : `Not as in the map:\n${some(changes).join('\n')}`,
  ].join('\n');
}

const CHANGES_SHOWN = 20;

function some(changes: readonly string[]): readonly string[] {
  const shown = changes.slice(0, CHANGES_SHOWN).map((change) => `  ${change}`);
  const rest = changes.length - shown.length;
  return rest > 0 ? [...shown, `  and ${rest} more; --json has them all`] : shown;
}

function when(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
