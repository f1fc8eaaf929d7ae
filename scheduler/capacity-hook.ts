/**
 * Adapter: asks the operator's capacity hook, a program or a web address (shared/model/capacity-hook.ts says
 * what goes each way). Every request has one outcome, in time: who does not answer is ended or cut off, and
 * whatever it wrote is bounded. It decides nothing: when and for what is `core/capacity-hook.ts`.
 */
import { spawn } from 'node:child_process';
import { request as httpRequest } from 'undici';
import { describeError } from '../shared/base/errors.ts';
import { formatDuration } from '../shared/base/units.ts';
import {
  ANSWER_BYTES_MAX,
  type CapacityOutcome,
  type CapacityRequest,
  decodeCapacityAnswer,
  shorten,
} from '../shared/model/capacity-hook.ts';
import type { Log } from '../shared/ports.ts';
import type { CapacityHookOptions, CapacityHookPort } from './core/contract.ts';

export interface CapacityHookSettings extends CapacityHookOptions {
  /** An absolute path of a program, or an http(s) URL. */
  readonly target: string;
}

export function createCapacityHook(settings: CapacityHookSettings, log: Log): CapacityHookPort {
  const ask = settings.target.startsWith('/') ? runCommand : postRequest;
  return {
    ask(request, done) {
      const { key, pool, count } = request;
      log('info', 'Asking the capacity hook', { key, pool, count });
      ask(settings, request).then(
        (text) => done(readAnswer(text, count)),
        (error: unknown) => done({ kind: 'failed', message: shorten(describeError(error)) }),
      );
    },
  };
}

function readAnswer(text: string, wanted: number): CapacityOutcome {
  try {
    return decodeCapacityAnswer(text, wanted);
  } catch (error) {
    return { kind: 'failed', message: shorten(describeError(error)) };
  }
}

/** The request on standard input, the answer on standard output, exit code 0. */
function runCommand(settings: CapacityHookSettings, request: CapacityRequest): Promise<string> {
  const { target, deadlineMs } = settings;
  return new Promise((resolve, reject) => {
    // A group of its own: what it started ends with it.
    // A hook needs its cloud's credentials, and none of ours.
    const { CISTERN_SECRET: _secret, ...environment } = process.env;
    const child = spawn(target, [], {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
      env: environment,
    });
    const output = new BoundedText();
    const errors = new BoundedText();
    let isOver = false;
    const fail = (why: string): void => {
      isOver = true;
      endGroup(child.pid);
      reject(new Error(`"${target}" ${why}`));
    };
    const deadline = setTimeout(
      () => fail(`did not end within ${formatDuration(deadlineMs)}`),
      deadlineMs,
    );
    child.stdout.on('data', (bytes: Buffer) => {
      if (!output.add(bytes) && !isOver) fail(`wrote more than ${ANSWER_BYTES_MAX} bytes`);
    });
    child.stderr.on('data', (bytes: Buffer) => void errors.add(bytes));
    // A program that reads nothing closes its input: its answer is what counts.
    child.stdin.on('error', () => undefined);
    child.on('error', (error) => {
      clearTimeout(deadline);
      fail(`cannot be started: ${error.message}`);
    });
    child.on('close', (code, signal) => {
      clearTimeout(deadline);
      if (code === 0) {
        resolve(output.text);
        return;
      }
      const end = signal === null ? `exit code ${code}` : `signal ${signal}`;
      reject(
        new Error(`"${target}" ended with ${end}: ${errors.text.trim() || 'it said nothing'}`),
      );
    });
    child.stdin.end(`${JSON.stringify(request)}\n`);
  });
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended by itself in this very moment.
  }
}

/** A POST whose body is the request; 2xx with the answer as its body. */
async function postRequest(
  settings: CapacityHookSettings,
  request: CapacityRequest,
): Promise<string> {
  const { target, deadlineMs } = settings;
  const abort = new AbortController();
  const deadline = setTimeout(() => {
    abort.abort(new Error(`"${target}" did not answer within ${formatDuration(deadlineMs)}`));
  }, deadlineMs);
  try {
    const answer = await httpRequest(target, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': request.key },
      body: JSON.stringify(request),
      signal: abort.signal,
    });
    const text = new BoundedText();
    for await (const bytes of answer.body as AsyncIterable<Buffer>) {
      if (text.add(bytes)) continue;
      throw new Error(`"${target}" answered with more than ${ANSWER_BYTES_MAX} bytes`);
    }
    if (answer.statusCode >= 200 && answer.statusCode < 300) return text.text;
    throw new Error(`"${target}" answered ${answer.statusCode}: ${text.text.trim() || 'no body'}`);
  } finally {
    clearTimeout(deadline);
  }
}

/** UTF-8 up to the bound; what comes after it is dropped. */
class BoundedText {
  readonly #parts: Buffer[] = [];
  #length = 0;

  /** False when there is too much. */
  add(bytes: Buffer): boolean {
    if (this.#length + bytes.length > ANSWER_BYTES_MAX) return false;
    this.#parts.push(bytes);
    this.#length += bytes.length;
    return true;
  }

  get text(): string {
    return Buffer.concat(this.#parts).toString('utf8');
  }
}
