/** Mesos' agents and what became of their offers: `GET /v1/agents`. */
import type { FastifyInstance } from 'fastify';
import { StorageError } from '../../shared/base/errors.ts';
import type {
  AgentAnswerView,
  AgentDiskView,
  AgentReasonView,
  AgentView,
} from '../../shared/model/agent-view.ts';
import type { JsonSchema } from './json-schema.ts';
import {
  described,
  list,
  nullable,
  nullableOneOf,
  number,
  oneOf,
  record,
  ref,
  text,
  time,
  viewSchema,
} from './json-schema.ts';
import type { ManagerPort } from './manager-port.ts';
import { describeRoute, pathParameter } from './route-schema.ts';

const answers = ['accepted', 'declined'];

const reason = viewSchema<AgentReasonView>('AgentReason', {
  kind: described(text, 'A word like attribute, size, maintenance or nothing-wanted'),
  pool: described(nullable(text), 'The pool that did not want it'),
  message: text,
});

const disk = viewSchema<AgentDiskView>('AgentDisk', {
  kind: nullableOneOf(['mount', 'path', 'root']),
  root: nullable(text),
  sizeBytes: described(number, 'Bytes'),
  owner: oneOf(['free', 'ours', 'foreign']),
  disk: described(nullable(text), 'The disk of ours that it is (d7)'),
  reasons: described(list(ref('AgentReason')), 'Why it was not taken'),
});

const answer = viewSchema<AgentAnswerView>('AgentAnswer', {
  at: time,
  answer: oneOf(answers),
  why: text,
});

const agent = viewSchema<AgentView>('Agent', {
  id: described(text, "Mesos' id of the agent"),
  hostname: text,
  node: described(nullable(text), 'The node that runs there (n3)'),
  zone: nullable(text),
  region: nullable(text),
  attributes: record(text),
  lastOfferAt: described(nullable(time), 'null: nothing was offered since this manager began'),
  answer: nullableOneOf(answers),
  summary: text,
  reason: described(nullable(ref('AgentReason')), 'Why nothing of it was taken'),
  disks: list(ref('AgentDisk')),
  earlier: described(list(ref('AgentAnswer')), 'Answers to the offers before, newest first'),
});

export const AGENT_SCHEMAS: readonly JsonSchema[] = [reason, disk, answer, agent];

export function addAgentRoutes(app: FastifyInstance, manager: ManagerPort): void {
  const about = "Mesos' agents, and why what they offered was or was not taken";
  app.get('/agents', { schema: describeRoute('nodes', about, list(ref('Agent'))) }, async () =>
    manager.agents(),
  );
  app.get<{ Params: { agent: string } }>(
    '/agents/:agent',
    {
      schema: describeRoute('nodes', 'One agent', ref('Agent'), {
        params: pathParameter('agent', "Mesos' id, hostname, or node (n3)"),
      }),
    },
    async (request) => {
      const given = request.params.agent;
      const found = manager.agent(given);
      if (found !== null) return found;
      throw new StorageError(
        'not-found',
        `No agent is called "${given}"; known are those that offered something since this manager began, and those of our nodes`,
        { field: 'agent', given },
      );
    },
  );
}
