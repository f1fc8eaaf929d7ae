/**
 * The child process with the machines, as the test holds it. Whoever asks while the power goes gets null; `dark`
 * resolves when nothing of the machines is left but their disks.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ClusterMap } from '../../../../shared/model/cluster-map.ts';
import type { NodeReport } from '../../../../shared/model/node-report.ts';
import { type FromMachines, POWER_LOST_FILE, type PowerLost, type ToMachines } from './messages.ts';

const MAIN = fileURLToPath(new URL('machines-main.js', import.meta.url));
/** For machines that hang, not for slow ones. */
const PATIENCE_MS = 60_000;
const COMPLAINTS_MAX = 4000;

export class Machines {
  readonly #child: ChildProcess;
  readonly #options: Extract<ToMachines, { kind: 'start' }>;
  readonly #ended: Promise<void>;
  #complaints = '';
  #answer: ((answer: FromMachines | null) => void) | null = null;

  constructor(options: Omit<Extract<ToMachines, { kind: 'start' }>, 'kind'>) {
    this.#options = { kind: 'start', ...options };
    this.#child = fork(MAIN, [], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#complaints = (this.#complaints + chunk.toString()).slice(-COMPLAINTS_MAX);
    });
    this.#child.on('message', (message: FromMachines) => this.#settle(message));
    this.#ended = new Promise((resolve) => {
      this.#child.once('close', () => {
        this.#settle(null);
        resolve();
      });
    });
  }

  /** Addresses of the replica servers. */
  async start(): Promise<readonly string[] | null> {
    const answer = await this.#ask(this.#options);
    return answer?.kind === 'listening' ? answer.addresses : null;
  }

  /** To all machines; false: the power is gone. */
  async sendMap(map: ClusterMap): Promise<boolean> {
    return (await this.#ask({ kind: 'map', map })) !== null;
  }

  async report(): Promise<readonly NodeReport[] | null> {
    const answer = await this.#ask({ kind: 'report' });
    return answer?.kind === 'reports' ? answer.reports : null;
  }

  /** Power will be lost just before that many things more have happened to the disks. */
  async losePower(afterEvents: number): Promise<void> {
    await this.#ask({ kind: 'lose-power', afterEvents });
  }

  /** Resolves when the power is gone and every outcome is complete; throws when that was not the end. */
  async dark(): Promise<PowerLost> {
    const patience = setTimeout(() => this.#child.kill('SIGKILL'), PATIENCE_MS);
    await this.#ended;
    clearTimeout(patience);
    const lost = this.#options.outcomes.map((outcome) => {
      const file = join(outcome, POWER_LOST_FILE);
      if (!existsSync(file))
        throw new Error(`The machines ended by themselves: ${this.#complaints}`);
      return JSON.parse(readFileSync(file, 'utf8')) as PowerLost;
    });
    return lost[0] ?? { next: 'nothing', events: 0 };
  }

  /** Ends them, whatever they are doing; what they leave is of no interest. */
  async end(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  get isOn(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Warnings and errors, the last of them. */
  get complaints(): string {
    return this.#complaints;
  }

  #ask(message: ToMachines): Promise<FromMachines | null> {
    return new Promise((resolve, reject) => {
      if (!this.isOn) {
        resolve(null);
        return;
      }
      const patience = setTimeout(() => {
        reject(
          new Error(`No answer to "${message.kind}" in ${PATIENCE_MS} ms: ${this.#complaints}`),
        );
      }, PATIENCE_MS);
      this.#answer = (answer) => {
        clearTimeout(patience);
        resolve(answer);
      };
      // It may have ended just now: then `close` answers.
      this.#child.send(message, () => undefined);
    });
  }

  #settle(answer: FromMachines | null): void {
    const settle = this.#answer;
    this.#answer = null;
    settle?.(answer);
  }
}
