/** CPU time and memory of processes, as /proc tells them. */
import { readdirSync, readFileSync } from 'node:fs';

export interface BenchProcess {
  /** `data agent1`, `executor agent1`, `scheduler`, `qemu-nbd`, … */
  readonly role: string;
  readonly pid: number;
}

/** Of one tick in /proc/PID/stat: 100 per second on every Linux that we know. */
const TICK_MS = 10;

/** User and system time of the process with all threads that it ever had, in milliseconds. */
export function cpuMsOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name, in parentheses, may hold anything; the state is the first field after it.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

export function cpuMsOfAll(processes: readonly BenchProcess[]): number {
  return processes.reduce((sum, { pid }) => sum + cpuMsOf(pid), 0);
}

/** Resident memory, shared pages included. */
export function memoryBytesOf(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return line === null ? 0 : Number(line[1]) * 1024;
}

export function childrenOf(parent: number): readonly number[] {
  return readdirSync(`/proc/${parent}/task`)
    .flatMap((thread) =>
      readFileSync(`/proc/${parent}/task/${thread}/children`, 'utf8').trim().split(' '),
    )
    .filter((text) => text !== '')
    .map(Number);
}

export function argumentsOf(pid: number): readonly string[] {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
}
