/**
 * `cistern explain [subject]`: why something is not green, link by link down to the root; what happens next
 * by itself and by when; and the one safe thing to do. Made to be read at three in the morning.
 */
import { formatDuration } from '../shared/base/units.ts';
import type { CauseView, ExplainView, ExplanationView } from '../shared/model/explanation-view.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import { formatAge, formatTime, plural } from './figures.ts';
import type { Colors } from './terminal.ts';

interface ExplainArgs {
  readonly subject: string | undefined;
  readonly all: boolean;
}

/** Things on their way as intended are many in a big cluster; nobody is woken for them. */
const NOTICES_MAX = 5;

export function addExplainCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command(
    'explain [subject]',
    'Why something is not green, what happens next, and what you may do',
    (one) =>
      one
        .positional('subject', {
          type: 'string',
          describe: 'A volume, pool or host by name, or n3, d7, pg12, v5, j4; else everything',
        })
        .option('all', {
          type: 'boolean',
          default: false,
          describe: 'Also list all things that are merely on their way',
        })
        .example('$0 explain', 'everything that is not green, worst first')
        .example('$0 explain db', 'the volume db'),
    runAction<ExplainArgs>(explain),
  );
}

async function explain(cli: Cli, args: ExplainArgs): Promise<undefined> {
  const path = args.subject === undefined ? '' : `/${encodeURIComponent(args.subject)}`;
  const answer = await cli.api.get<ExplainView>(`/explain${path}`);
  cli.show(answer, () => renderExplanations(answer, args.all, cli.now, cli.terminal.colors));
}

export function renderExplanations(
  answer: ExplainView,
  isAll: boolean,
  nowMs: number,
  colors: Colors,
): string {
  const { explanations, subject, omittedCount } = answer;
  if (explanations.length === 0) {
    return `${colors.green('✔')} ${subject === null ? 'Everything' : subject} is green. Nothing to do.`;
  }
  const troubles = explanations.filter((one) => one.severity !== 'notice');
  const notices = explanations.filter((one) => one.severity === 'notice');
  const isShort = subject === null && !isAll && notices.length > NOTICES_MAX;
  const shown = isShort ? notices.slice(0, NOTICES_MAX) : notices;
  const hidden = notices.length - shown.length + omittedCount;
  const blocks = [...troubles, ...shown].map((one) => renderOne(one, nowMs, colors));
  if (hidden > 0) {
    const what = plural(hidden, 'more thing');
    blocks.push(colors.dim(`… and ${what} on the way as intended (cistern explain --all)`));
  }
  return blocks.join('\n\n');
}

function renderOne(one: ExplanationView, nowMs: number, colors: Colors): string {
  const signs = {
    critical: colors.red('✖'),
    degraded: colors.yellow('▲'),
    notice: colors.cyan('•'),
  } as const;
  const lines = [`${signs[one.severity]} ${colors.bold(one.message)}${since(one, nowMs, colors)}`];
  one.causes.forEach((cause, index) => {
    // Each link hangs below the one that it brought about.
    const indent = ' '.repeat(2 + 2 * Math.min(index, 3));
    lines.push(`${indent}${colors.dim('because')} ${cause.message}${since(cause, nowMs, colors)}`);
  });
  lines.push(`  ${colors.dim('next')}    ${one.next}`);
  lines.push(`  ${colors.dim('by')}      ${deadline(one, nowMs)}`);
  lines.push(`  ${colors.dim('you')}     ${one.action}`);
  if (one.command !== null) lines.push(`          ${colors.cyan(one.command)}`);
  return lines.join('\n');
}

function since(cause: CauseView, nowMs: number, colors: Colors): string {
  if (cause.since === null) return '';
  const age = formatAge(cause.since, nowMs);
  return colors.dim(`  [since ${formatTime(cause.since, nowMs)}, ${age}]`);
}

function deadline(one: ExplanationView, nowMs: number): string {
  if (one.by === null) return `no deadline: ${one.noDeadline}`;
  const left = Date.parse(one.by) - nowMs;
  const inTime = left > 0 ? `in ${formatDuration(left)}` : 'any moment now';
  return `${formatTime(one.by, nowMs)}, ${inTime}`;
}
