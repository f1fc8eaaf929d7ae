/** `cistern events [--follow]`: what happened, oldest first; follows through restarts of the scheduler. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { EventView } from '../shared/model/api-views.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import { EXIT_UNREACHABLE, exitCodeOf } from './failures.ts';
import { formatTime } from './figures.ts';
import { readCount } from './quantities.ts';

/** Between two attempts to follow again. */
const RECONNECT_MS = 1000;
/** What the API gives at most at once. */
const LIMIT_MAX = 1000;

interface EventsArgs {
  readonly follow: boolean;
  readonly limit: string;
}

export function addEventsCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command(
    'events',
    'What happened, oldest first',
    (events) =>
      events
        .option('follow', {
          alias: 'f',
          type: 'boolean',
          default: false,
          describe: 'Go on with what happens from now on, until interrupted',
        })
        .option('limit', {
          type: 'string',
          requiresArg: true,
          default: '50',
          describe: 'The newest this many',
        }),
    runAction<EventsArgs>(showEvents),
  );
}

async function showEvents(cli: Cli, args: EventsArgs): Promise<undefined> {
  const limit = Math.min(LIMIT_MAX, readCount('--limit', args.limit, 1));
  const events = await cli.api.get<readonly EventView[]>(`/events?limit=${limit}`);
  if (!args.follow) {
    cli.show(events, () =>
      events.length === 0
        ? 'Nothing happened yet.'
        : events.map((event) => renderEvent(cli, event)).join('\n'),
    );
    return undefined;
  }
  for (const event of events) printFollowed(cli, event);
  await followEvents(cli, events.at(-1)?.id ?? 0);
  return undefined;
}

/** With `--json` one event is one line, so that other programs can read along. */
function printFollowed(cli: Cli, event: EventView): void {
  cli.terminal.print(cli.isJson ? JSON.stringify(event) : renderEvent(cli, event));
}

/** Until SIGINT, which ends it without an error. */
async function followEvents(cli: Cli, sinceId: number): Promise<void> {
  const controller = new AbortController();
  const stop = (): void => controller.abort();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  let lastId = sinceId;
  let isConnected = true;
  while (!controller.signal.aborted) {
    try {
      for await (const message of cli.api.stream('/events/stream', lastId, controller.signal)) {
        if (!isConnected) cli.explain(`Connected to ${cli.api.address} again`);
        isConnected = true;
        printFollowed(cli, JSON.parse(message.data) as EventView);
        lastId = message.id ?? lastId;
      }
    } catch (error) {
      if (controller.signal.aborted) return;
      if (exitCodeOf(error) !== EXIT_UNREACHABLE) throw error;
      if (isConnected) cli.explain(`Connection to ${cli.api.address} lost; trying again`);
      isConnected = false;
    }
    await sleep(RECONNECT_MS, undefined, { signal: controller.signal }).catch(() => {
      // Interrupted while it slept: the loop ends.
    });
  }
}

function renderEvent(cli: Cli, event: EventView): string {
  const { colors } = cli.terminal;
  const paint = { info: colors.dim, warning: colors.yellow, error: colors.red }[event.severity];
  const time = colors.dim(formatTime(event.at, cli.now));
  return `${time}  ${paint(event.severity.padEnd(7))}  ${event.message}`;
}
