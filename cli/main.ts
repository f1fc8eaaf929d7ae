/** The `cistern` command: reads arguments, runs one command, sets the exit code (failures.ts). */
import process from 'node:process';
import { hideBin } from 'yargs/helpers';
import { runCommandLine } from './command-line.ts';

await runCommandLine(hideBin(process.argv));
