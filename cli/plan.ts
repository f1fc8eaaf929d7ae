/**
 * `cistern plan [FILE]` shows what a document of pools would change, or what is pending; `cistern apply [FILE]`
 * does it. A file is JSON: `{ "pools": [ … ] }`; fields that end in `Bytes` may be sizes like "100G".
 */
import { readFileSync } from 'node:fs';
import { describeError } from '../shared/base/errors.ts';
import { formatBytes, parseBytes } from '../shared/base/units.ts';
import type { JobView } from '../shared/model/api-views.ts';
import type { PlanStepView, PlanView } from '../shared/model/pool-settings.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import { usageError } from './failures.ts';
import { jobExitCode, watchJob } from './job-progress.ts';
import { renderTable } from './table.ts';

interface PlanArgs {
  readonly file: string | undefined;
}

interface ApplyArgs extends PlanArgs {
  readonly wait: boolean;
}

const FILE = { describe: 'Pools as JSON; "-" reads stdin', type: 'string' } as const;

export function addPlanCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command(
    'plan [file]',
    'What a file of pools would change; without one, what is pending',
    (one) => one.positional('file', FILE),
    runAction<PlanArgs>(showPlan),
  );
}

export function addApplyCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command(
    'apply [file]',
    'Put a file of pools in force; without one, do what is pending',
    (one) =>
      one
        .positional('file', FILE)
        .option('wait', { type: 'boolean', default: false, describe: 'Wait until all is done' }),
    runAction<ApplyArgs>(applyFile),
  );
}

async function showPlan(cli: Cli, args: PlanArgs): Promise<undefined> {
  const plan =
    args.file === undefined
      ? await cli.api.get<PlanView>('/plan')
      : (await cli.api.send<PlanView>('POST', '/plan', { body: readDocument(args.file) })).body;
  cli.show(plan, () => renderPlan(cli, plan));
}

async function applyFile(cli: Cli, args: ApplyArgs): Promise<number | undefined> {
  const document = args.file === undefined ? {} : readDocument(args.file);
  const { body } = await cli.api.send<{ job: JobView | null }>('POST', '/apply', {
    body: document,
  });
  const { job } = body;
  if (job === null || !args.wait) {
    cli.show(body, () =>
      job === null
        ? 'The pools are in force; no disk has to move.'
        : `The pools are in force; ${job.id} moves the disks. "cistern job watch ${job.id}" follows it, "cistern job pause ${job.id}" lets it rest.`,
    );
    return undefined;
  }
  const ended = await watchJob(cli, job.id);
  cli.show(ended, () => `Job ${ended.id} is ${ended.state}.`);
  return jobExitCode(ended);
}

function readDocument(file: string): object {
  let text: string;
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw usageError(`Cannot read "${file}": ${describeError(error)}`, 'Name a file of pools');
  }
  try {
    const document = withSizes(JSON.parse(text));
    if (typeof document === 'object' && document !== null) return document;
    throw usageError(`"${file}" holds no object`, 'Like {"pools": [{"name": "fast"}]}');
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw usageError(
      `"${file}" is no JSON: ${error.message}`,
      'Like {"pools": [{"name": "fast"}]}',
    );
  }
}

/** Sizes as people write them become bytes; everything else is for the manager to judge. */
function withSizes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withSizes);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => {
      const bytes = name.endsWith('Bytes') && typeof field === 'string' ? parseBytes(field) : null;
      return [name, bytes ?? withSizes(field)];
    }),
  );
}

const WORDS: Readonly<Record<PlanStepView['kind'], string>> = {
  'create-pool': 'create pool',
  'change-pool': 'change pool',
  'delete-pool': 'delete pool',
  'move-disk': 'move disk',
  'release-disk': 'give back disk',
  'claim-disk': 'claim disk',
};

function renderPlan(cli: Cli, plan: PlanView): string {
  const { colors } = cli.terminal;
  const notes = plan.notes.map((note) => colors.dim(note));
  if (plan.job !== null) notes.unshift(`${plan.job} is carrying changes out now.`);
  if (plan.steps.length === 0) return ['Nothing to change.', ...notes].join('\n');
  const where = (step: PlanStepView) =>
    [step.node ?? step.hostname, step.disk, step.place].filter((part) => part !== null).join(' ');
  const table = renderTable(
    [
      { title: 'step', read: (step) => WORDS[step.kind] },
      {
        title: 'pool',
        read: (step) => (step.toPool === null ? step.pool : `${step.pool} → ${step.toPool}`),
      },
      { title: 'where', read: where },
      {
        title: 'size',
        isNumber: true,
        read: (step) => (step.sizeBytes === null ? '' : formatBytes(step.sizeBytes)),
      },
      {
        title: 'to copy',
        isNumber: true,
        read: (step) => (step.replicasToMove === 0 ? '' : formatBytes(step.dataBytes)),
      },
      { title: 'reason', read: (step) => step.reason },
    ],
    plan.steps,
    colors,
  );
  const sum = `${plan.steps.length} steps, ${plan.replicasToMove} replicas with ${formatBytes(plan.dataBytes)} to copy`;
  return [table, '', sum, ...notes].join('\n');
}
