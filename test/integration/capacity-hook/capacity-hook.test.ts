/** The adapter against real programs and a real web server: answers, refusals, silence, floods. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createCapacityHook } from '../../../scheduler/capacity-hook.ts';
import type { CapacityOutcome, CapacityRequest } from '../../../shared/model/capacity-hook.ts';

const REQUEST: CapacityRequest = {
  format: 1,
  key: 'abc-default-1',
  attempt: 1,
  isDryRun: false,
  cluster: 'test',
  clusterId: '1f2e3d4c-5b6a-4789-8abc-def012345678',
  pool: 'default',
  tier: null,
  count: 2,
  diskBytes: 1024,
  bytes: 2048,
  reason: 'pool "default" is 81 % used',
  nodes: [],
};

function ask(target: string, deadlineMs = 20_000): Promise<CapacityOutcome> {
  const settings = { target, cooldownMs: 0, disksPerDay: 10, deadlineMs, isDryRun: false };
  const hook = createCapacityHook(settings, () => undefined);
  return new Promise((resolve) => hook.ask(REQUEST, resolve));
}

describe('capacity hook: a program', function () {
  this.timeout(60_000);
  let directory: string;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'cistern-hook-'));
  });

  after(() => rmSync(directory, { recursive: true, force: true }));

  function program(name: string, script: string): string {
    const file = join(directory, name);
    writeFileSync(file, `#!/bin/sh\n${script}\n`);
    chmodSync(file, 0o755);
    return file;
  }

  it('capacity hook: it reads the request and promises disks', async () => {
    const copy = join(directory, 'request.json');
    const outcome = await ask(
      program('good', `cat > ${copy}; echo '{"count":2,"message":"vol-1, vol-2"}'`),
    );
    expect(outcome).to.deep.equal({ kind: 'promised', count: 2, message: 'vol-1, vol-2' });
    expect(JSON.parse(readFileSync(copy, 'utf8'))).to.deep.equal(REQUEST);
  });

  it('capacity hook: it looks for the secret of the framework, it is not told', async () => {
    process.env['CISTERN_SECRET'] = 'of the framework';
    try {
      const script = 'echo "{\\"count\\":1,\\"message\\":\\"secret: $CISTERN_SECRET\\"}"';
      const outcome = await ask(program('curious', script));
      expect(outcome).to.deep.equal({ kind: 'promised', count: 1, message: 'secret:' });
    } finally {
      delete process.env['CISTERN_SECRET'];
    }
  });

  it('capacity hook: it fails, its words are told', async () => {
    const outcome = await ask(program('bad', 'echo "no quota left" >&2; exit 3'));
    expect(outcome.kind).to.equal('failed');
    expect(outcome.message).to.match(/exit code 3: no quota left/);
  });

  it('capacity hook: it hangs, it is ended at the deadline with all it started', async () => {
    const file = join(directory, 'late');
    const outcome = await ask(program('slow', `(sleep 3; touch ${file}) & sleep 600`), 500);
    expect(outcome.message).to.match(/did not end within/);
    await new Promise((resolve) => setTimeout(resolve, 3_500));
    expect(existsSync(file)).to.equal(false);
  });

  it('capacity hook: it talks without end, or nonsense, or is not there', async () => {
    expect((await ask(program('flood', 'yes'))).message).to.match(/more than 65536 bytes/);
    expect((await ask(program('chat', 'echo hello'))).message).to.match(/cannot be used/);
    expect((await ask(join(directory, 'absent'))).message).to.match(/cannot be started/);
  });
});

describe('capacity hook: a web address', function () {
  this.timeout(60_000);
  let server: Server;
  let url: string;
  let answer: (request: IncomingMessage, response: ServerResponse, body: string) => void;

  before(async () => {
    server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => answer(request, response, Buffer.concat(parts).toString('utf8')));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/attach`;
  });

  after(() => {
    server.closeAllConnections();
    server.close();
  });

  it('capacity hook: a POST with its key, the answer is taken', async () => {
    let seen: { key: unknown; body: unknown } | null = null;
    answer = (request, response, body) => {
      seen = { key: request.headers['idempotency-key'], body: JSON.parse(body) };
      response.end('{"count":1}');
    };
    expect(await ask(url)).to.deep.equal({ kind: 'promised', count: 1, message: '' });
    expect(seen).to.deep.equal({ key: REQUEST.key, body: REQUEST });
  });

  it('capacity hook: errors, silence and floods have an outcome', async () => {
    answer = (_request, response) => {
      response.statusCode = 503;
      response.end('try later');
    };
    expect((await ask(url)).message).to.match(/answered 503: try later/);
    answer = () => undefined;
    expect((await ask(url, 300)).message).to.match(/did not answer within/);
    answer = (_request, response) => void response.end('x'.repeat(200_000));
    expect((await ask(url)).message).to.match(/more than 65536 bytes/);
    expect((await ask('http://127.0.0.1:1/none')).kind).to.equal('failed');
  });
});
