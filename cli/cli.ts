/** What every command has: the API, the terminal, and whether the caller wants JSON. */
import type { ArgumentsCamelCase, Argv } from 'yargs';
import type { Environment } from './api-address.ts';
import { resolveApi } from './api-address.ts';
import { ApiClient } from './api-client.ts';
import { EXIT_OK, exitCodeOf, explainFailure, failureView } from './failures.ts';
import { Terminal } from './terminal.ts';

/** Options of all commands. */
export interface GlobalArgs {
  readonly json: boolean;
  readonly api: string | undefined;
}

export type GlobalArgv = Argv<GlobalArgs>;

export class Cli {
  readonly terminal: Terminal;
  readonly environment: Environment;
  readonly isJson: boolean;
  readonly #given: string | undefined;
  #api: ApiClient | null = null;

  constructor(args: GlobalArgs, environment: Environment) {
    this.terminal = new Terminal(environment);
    this.environment = environment;
    this.isJson = args.json;
    this.#given = args.api;
  }

  /** Looked up when first needed: `dev up` works without a cluster. */
  get api(): ApiClient {
    this.#api ??= new ApiClient(resolveApi(this.#given, this.environment), (text) =>
      this.terminal.explain(this.terminal.errorColors.yellow(text)),
    );
    return this.#api;
  }

  get now(): number {
    return Date.now();
  }

  /** The result of a command: as JSON when asked for, else as `render` says. */
  show(value: unknown, render: () => string): void {
    this.terminal.print(this.isJson ? JSON.stringify(value, null, 2) : render());
  }

  /** For the person watching; silent with `--json`. */
  explain(text: string): void {
    if (!this.isJson) this.terminal.explain(text);
  }
}

/** Resolves with an exit code when it is not 0. */
export type Action<Args> = (cli: Cli, args: Args) => Promise<number | undefined>;

/** Turns an action into what yargs calls; failures are explained and become the exit code. */
export function runAction<Args>(
  action: Action<Args>,
): (args: ArgumentsCamelCase<Args & GlobalArgs>) => Promise<void> {
  return async (args) => {
    const cli = new Cli(args, process.env);
    try {
      process.exitCode = (await action(cli, args as unknown as Args)) ?? EXIT_OK;
    } catch (error) {
      reportFailure(cli, error);
      process.exitCode = exitCodeOf(error);
    }
  };
}

export function reportFailure(cli: Cli, error: unknown): void {
  const { terminal } = cli;
  if (cli.isJson) {
    terminal.explain(JSON.stringify(failureView(error)));
    return;
  }
  const [message = '', ...hints] = explainFailure(error);
  terminal.explain(`${terminal.errorColors.red('Failed:')} ${message}`);
  for (const hint of hints) terminal.explain(`${terminal.errorColors.dim('→')} ${hint}`);
}
