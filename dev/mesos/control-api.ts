/**
 * Commands to the stand-in itself, as JSON over HTTP below /stand-in on the master's port:
 *
 *     GET  /stand-in/state
 *     POST /stand-in/agents                    an agent's spec
 *     POST /stand-in/agents/<name>/kill|stop|start|retire|wipe
 *     POST /stand-in/misbehave                 any fields of a misbehaviour
 *     POST /stand-in/maintenance               a maintenance schedule
 *     POST /stand-in/drop-streams
 *     POST /stand-in/master/restart
 *
 * Answers: 200 with JSON; errors as `{"error": …}` with the status of their code.
 */

import { describeError, ERROR_CODES, StorageError } from '../../shared/base/errors.ts';
import type { MaintenanceSchedule } from '../../shared/mesos/messages.ts';
import type { AgentSpec } from './agent-spec.ts';
import { answerJson, type Request } from './http-server.ts';
import type { Misbehaviour } from './misbehaviour.ts';

/** What may be commanded: the stand-in itself (`cluster.ts`). */
export interface StandInControls {
  state(): unknown;
  addAgent(spec: AgentSpec): Promise<void>;
  killAgent(name: string): Promise<void>;
  stopAgent(name: string): Promise<void>;
  startAgent(name: string): Promise<void>;
  retireAgent(name: string): Promise<void>;
  wipeAgent(name: string): void;
  restartMaster(): Promise<void>;
  setMaintenance(schedule: MaintenanceSchedule): void;
  misbehave(changes: Partial<Misbehaviour>): void;
  dropStreams(): void;
}

const PREFIX = '/stand-in/';

/** Returns false when the request is not for the stand-in itself. */
export async function handleControl(standIn: StandInControls, request: Request): Promise<boolean> {
  if (!request.path.startsWith(PREFIX)) return false;
  try {
    answerJson(request.response, await run(standIn, request));
  } catch (error) {
    const status = error instanceof StorageError ? ERROR_CODES[error.code].http : 400;
    const body = Buffer.from(JSON.stringify({ error: describeError(error) }));
    request.response.writeHead(status, { 'Content-Type': 'application/json' }).end(body);
  }
  return true;
}

async function run(standIn: StandInControls, request: Request): Promise<unknown> {
  const [subject, name, verb] = request.path.slice(PREFIX.length).split('/');
  if (request.method === 'GET' && subject === 'state') return standIn.state();
  if (request.method !== 'POST') throw unknownCommand(request);
  if (subject === 'agents') return runOnAgents(standIn, request, name, verb);
  if (subject === 'misbehave') standIn.misbehave(body(request) as Partial<Misbehaviour>);
  else if (subject === 'maintenance') {
    standIn.setMaintenance(body(request) as MaintenanceSchedule);
  } else if (subject === 'drop-streams') standIn.dropStreams();
  else if (subject === 'master' && name === 'restart') {
    // After the answer: the restart breaks this very connection.
    setTimeout(() => void standIn.restartMaster(), RESTART_DELAY_MS);
  } else throw unknownCommand(request);
  return {};
}

/** Enough for the answer to leave. */
const RESTART_DELAY_MS = 20;

async function runOnAgents(
  standIn: StandInControls,
  request: Request,
  name: string | undefined,
  verb: string | undefined,
): Promise<unknown> {
  if (name === undefined || name === '') {
    await standIn.addAgent(body(request) as AgentSpec);
    return {};
  }
  if (verb === 'kill') await standIn.killAgent(name);
  else if (verb === 'stop') await standIn.stopAgent(name);
  else if (verb === 'start') await standIn.startAgent(name);
  else if (verb === 'retire') await standIn.retireAgent(name);
  else if (verb === 'wipe') standIn.wipeAgent(name);
  else throw unknownCommand(request);
  return {};
}

function body(request: Request): unknown {
  const text = request.body.toString('utf8');
  const value: unknown = JSON.parse(text === '' ? '{}' : text);
  if (typeof value === 'object' && value !== null) return value;
  throw new StorageError('invalid-argument', 'Expected a JSON object as body');
}

function unknownCommand(request: Request): StorageError {
  return new StorageError('not-found', `Unknown command "${request.method} ${request.path}"`);
}
