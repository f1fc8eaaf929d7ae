/** All commands together, the options that they share, and what happens when the arguments are wrong. */
import { readFileSync } from 'node:fs';
import yargs from 'yargs';
import { describeError, StorageError } from '../shared/base/errors.ts';
import { addBrakeCommand } from './brake.ts';
import { Cli, type GlobalArgv, reportFailure } from './cli.ts';
import { addDemoCommand } from './demo.ts';
import { addDevCommand } from './dev.ts';
import { addDiskCommand } from './disk.ts';
import { addEventsCommand } from './events.ts';
import { addExplainCommand } from './explain.ts';
import { EXIT_USAGE, usageError } from './failures.ts';
import { addJobCommand } from './job.ts';
import { addNodeCommand } from './node.ts';
import { addPgCommand } from './pg.ts';
import { addApplyCommand, addPlanCommand } from './plan.ts';
import { addPoolCommand } from './pool.ts';
import { addRecoverCommand } from './recover.ts';
import { addRescueCommand } from './rescue.ts';
import { addScrubCommand } from './scrub.ts';
import { addStatusCommand } from './status.ts';
import { addUninstallCommand } from './uninstall.ts';
import { addUpgradeCommand } from './upgrade.ts';
import { addVolumeCommand } from './volume.ts';

/** Wider help is hard to read. */
const HELP_COLUMNS_MAX = 100;

/** Yargs asks for singular and plural, of which its types know nothing. */
const REFUSAL_WORDS = Object.fromEntries(
  [
    [
      'Not enough non-option arguments: got %s, need at least %s',
      'The command needs to be told which one: %s given, %s needed',
    ],
    ['Missing required argument: %s', 'Option --%s is missing'],
    ['Unknown argument: %s', 'There is no "%s" here'],
  ].map(([given, said]) => [given, { one: said, other: said }]),
) as unknown as Record<string, string>;

export async function runCommandLine(argv: readonly string[]): Promise<void> {
  const parser = createParser()
    .exitProcess(false)
    // Throwing is what keeps yargs from running the command in spite of it.
    .fail((message, error) => {
      throw error ?? new StorageError('invalid-argument', describeRefusal(message));
    });
  try {
    await parser.parseAsync([...argv]);
  } catch (error) {
    refuse(argv, error);
  }
}

function createParser(): GlobalArgv {
  const base: GlobalArgv = yargs()
    .scriptName('cistern')
    .usage(
      'Cistern: replicated block storage from the local disks of a Mesos cluster.\n\n$0 <command>',
    )
    .option('json', { type: 'boolean', default: false, describe: 'Print the result as JSON' })
    .option('api', {
      type: 'string',
      requiresArg: true,
      describe:
        'Addresses of the schedulers (a,b,c); else CISTERN_API, else the development cluster',
    })
    .parserConfiguration({ 'duplicate-arguments-array': false })
    .wrap(Math.min(HELP_COLUMNS_MAX, process.stdout.columns || HELP_COLUMNS_MAX))
    .version(readVersion())
    .help()
    .alias('help', 'h')
    .updateStrings(REFUSAL_WORDS)
    .strict()
    .recommendCommands()
    .demandCommand(
      1,
      'Which command? "cistern --help" lists them, "cistern status" is a good start',
    );
  const adders = [
    addStatusCommand,
    addExplainCommand,
    addBrakeCommand,
    addVolumeCommand,
    addPoolCommand,
    addPlanCommand,
    addApplyCommand,
    addNodeCommand,
    addDiskCommand,
    addPgCommand,
    addJobCommand,
    addScrubCommand,
    addUpgradeCommand,
    addUninstallCommand,
    addEventsCommand,
    addRecoverCommand,
    addRescueCommand,
    addDevCommand,
    addDemoCommand,
  ];
  return adders.reduce((parser, add) => add(parser), base);
}

/** What yargs says, as one line. */
function describeRefusal(message: string): string {
  const line = message.replaceAll(/\s*\n\s*/g, ' ');
  return line.startsWith('Did you mean') ? `There is no such command. ${line}` : line;
}

function refuse(argv: readonly string[], error: unknown): void {
  const isJson = argv.includes('--json');
  const words = argv.filter((word) => !word.startsWith('-')).slice(0, 2);
  const hint = `"${['cistern', ...words, '--help'].join(' ')}" says how it is used`;
  const cli = new Cli({ json: isJson, api: undefined }, process.env);
  reportFailure(cli, usageError(describeError(error), hint));
  process.exitCode = EXIT_USAGE;
}

/** From package.json above the build folder, wherever that is. */
function readVersion(): string {
  for (const up of ['../package.json', '../../package.json', '../../../package.json']) {
    try {
      const manifest: unknown = JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8'));
      if (typeof manifest === 'object' && manifest !== null && 'version' in manifest) {
        return String(manifest.version);
      }
    } catch {
      // Not at this level: one further up.
    }
  }
  return 'unknown';
}
