/** What is compared: something that serves one preallocated device over NBD on a unix socket. */
import type { BenchProcess } from './processes.ts';

export interface Target {
  readonly uri: string;
  /** Those that carry the data: their CPU time is counted. */
  readonly dataProcesses: readonly BenchProcess[];
  readonly otherProcesses: readonly BenchProcess[];
  /** Ends the processes and removes the files. Idempotent. */
  close(): Promise<void>;
}
