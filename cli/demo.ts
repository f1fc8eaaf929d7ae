/** `cistern demo`: shows on this machine what Cistern promises; the work is done in `dev/demo/`. */
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import { place } from './dev.ts';
import { loadDemo } from './dev-commands.ts';
import { EXIT_FAILED, EXIT_OK } from './failures.ts';

interface DemoArgs {
  readonly quick: boolean;
  readonly keep: boolean;
}

export function addDemoCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command(
    'demo',
    'Start a cluster, use it, break it, watch it heal',
    (demo) =>
      demo
        .option('quick', { type: 'boolean', default: false, describe: 'Less data, shorter steps' })
        .option('keep', {
          type: 'boolean',
          default: false,
          describe: 'Leave the cluster running afterwards',
        }),
    runAction<DemoArgs>(runDemoCommand),
  );
}

async function runDemoCommand(cli: Cli, args: DemoArgs): Promise<number> {
  const { runDemo } = await loadDemo();
  // The demonstration is its output: steps go to stdout.
  const report = (line: string): void => {
    if (!cli.isJson) cli.terminal.print(line);
  };
  const isGood = await runDemo({ ...place(cli), report, isQuick: args.quick, isKept: args.keep });
  if (cli.isJson) cli.show({ isGood }, () => '');
  return isGood ? EXIT_OK : EXIT_FAILED;
}
