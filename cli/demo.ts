/** `cistern demo`: shows on this machine what Cistern promises; the story is told in `dev/demo/`. */
import { devDirectory } from '../dev/cluster/layout.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';

interface DemoArgs {
  readonly exit: boolean;
}

export function addDemoCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command(
    'demo',
    'Start a cluster of its own, use it, break it, watch it heal (about two minutes)',
    (demo) =>
      demo.option('exit', {
        type: 'boolean',
        default: false,
        describe: 'Take its cluster down at the end',
      }),
    runAction<DemoArgs>(tellDemo),
  );
}

/** Beside the development cluster's directory: the demo begins by emptying its own. */
async function tellDemo(cli: Cli, args: DemoArgs): Promise<number> {
  const { runDemo } = await import('../dev/demo/demo.ts');
  return runDemo({
    directory: `${devDirectory(cli.environment)}-demo`,
    isExit: args.exit,
    isJson: cli.isJson,
    isTerminal: process.stdout.isTTY === true,
  });
}
