import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createMesosExecutor } from '../../../executor/mesos.ts';
import { readMesosEnvironment } from '../../../executor/mesos-environment.ts';
import { type Authorization, readMasterAccess } from '../../../scheduler/mesos/access.ts';
import { createMesosScheduler, type MesosScheduler } from '../../../scheduler/mesos/client.ts';
import { JSON_TYPE } from '../../../shared/mesos/codec.ts';
import type { SchedulerEvent } from '../../../shared/mesos/scheduler-messages.ts';
import { systemClock } from '../../../shared/node/clock.ts';
import type { TlsSettings } from '../../../shared/node/mesos-connection.ts';
import { systemRandom } from '../../../shared/node/random.ts';
import { until, World } from './harness.ts';
import { openStream, record, refuse, ScriptedServer } from './scripted-server.ts';

const SUBSCRIBED = {
  type: 'SUBSCRIBED',
  subscribed: { framework_id: { value: 'fw-1' }, heartbeat_interval_seconds: 15 },
};

/** Two authorities; the first has signed a certificate for 127.0.0.1 and one for us. */
function makeCertificates(directory: string): void {
  const openssl = (...words: string[]) =>
    execFileSync('openssl', words, { cwd: directory, stdio: 'ignore' });
  for (const name of ['ca', 'other-ca']) {
    openssl(
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
      ...['-days', '2', '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.pem`],
    );
  }
  writeFileSync(join(directory, 'san.cnf'), 'subjectAltName=IP:127.0.0.1\n');
  for (const name of ['master', 'client']) {
    openssl(
      ...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
      ...['-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`],
    );
    openssl(
      ...['x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key'],
      ...['-CAcreateserial', '-days', '2', '-extfile', 'san.cnf', '-out', `${name}.pem`],
    );
  }
}

describe('mesos client: access to the master', function () {
  this.timeout(60_000);
  const directory = mkdtempSync(join(tmpdir(), 'master-access-'));
  const closers: (() => unknown)[] = [];
  const pem = (name: string) => readFileSync(join(directory, name), 'utf8');

  before(() => makeCertificates(directory));
  after(() => rmSync(directory, { recursive: true, force: true }));
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  type Watched = {
    readonly client: MesosScheduler;
    readonly events: SchedulerEvent[];
    readonly ends: string[];
  };

  function connect(master: string, authorization: Authorization, tls?: TlsSettings): Watched {
    const events: SchedulerEvent[] = [];
    const ends: string[] = [];
    const client = createMesosScheduler({
      masters: [master],
      contentType: JSON_TYPE,
      authorization,
      tls: tls ?? null,
      onEvent: (event) => {
        events.push(event);
        return undefined;
      },
      onDisconnected: (reason) => ends.push(reason),
      log: () => undefined,
      clock: systemClock,
      random: systemRandom,
      timing: { backoffMsBase: 10, backoffMsMax: 50 },
    });
    closers.push(() => client.close());
    client.subscribe({ user: 'root', name: 'test', roles: ['r'] }, null, ['r']);
    return { client, events, ends };
  }

  /** A TLS front of a plain server; `isAsking`: it wants a certificate of the client. */
  async function front(target: string, isAsking = false): Promise<string> {
    const server: TlsServer = createTlsServer(
      {
        cert: pem('master.pem'),
        key: pem('master.key'),
        ca: pem('ca.pem'),
        requestCert: isAsking,
        rejectUnauthorized: isAsking,
      },
      (incoming, response) => {
        const { method, url, headers } = incoming;
        const outgoing = request(`${target}${url}`, { method, headers }, (answer) => {
          response.writeHead(answer.statusCode ?? 500, answer.headers);
          response.flushHeaders();
          answer.pipe(response);
        });
        outgoing.on('error', () => response.destroy());
        response.on('close', () => outgoing.destroy());
        incoming.pipe(outgoing);
      },
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closers.push(() => {
      server.closeAllConnections();
      server.close();
    });
    return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  it('TLS with the authority of the master: a disk runs; with another one, or none: refused', async () => {
    const world = await World.start({ credentials: { cistern: 's3cret' } });
    closers.push(() => world.close());
    const url = await front(world.mesos.masterUrl);
    const basic = { kind: 'basic', principal: 'cistern', secret: 's3cret' } as const;
    for (const ca of [pem('other-ca.pem'), null]) {
      const { ends } = connect(url, basic, { ca, cert: null, key: null, verify: 'all' });
      await until('refused', () => ends.length > 0);
      expect(ends[0]).to.match(/certificate|self.signed|unable to/i);
    }
    const shell = world.shell({
      masters: [url],
      authorization: basic,
      tls: { ca: pem('ca.pem'), cert: null, key: null, verify: 'all' },
    });
    await until('subscribed', () => shell.state.mesos.isSubscribed);
    await until('revived', () => shell.calls.some(({ type }) => type === 'REVIVE'));
    expect(shell.disconnects).to.deep.equal([]);
  });

  it('a master that wants our certificate: subscribed with it, refused without', async () => {
    const world = await World.start();
    closers.push(() => world.close());
    const url = await front(world.mesos.masterUrl, true);
    const ca = pem('ca.pem');
    const without = connect(url, { kind: 'none' }, { ca, cert: null, key: null, verify: 'all' });
    await until('refused', () => without.ends.length > 0);
    const tls = { ca, cert: pem('client.pem'), key: pem('client.key'), verify: 'all' as const };
    const shell = world.shell({ masters: [url], tls });
    await until('subscribed', () => shell.state.mesos.isSubscribed);
  });

  it('a certificate that does not name the master: refused, unless only its authority counts', async () => {
    const world = await World.start();
    closers.push(() => world.close());
    const url = (await front(world.mesos.masterUrl)).replace('127.0.0.1', 'localhost');
    const tls = { ca: pem('ca.pem'), cert: null, key: null };
    const strict = connect(url, { kind: 'none' }, { ...tls, verify: 'all' });
    await until('refused', () => strict.ends.length > 0);
    expect(strict.ends[0]).to.match(/altnames|Hostname/i);
    const others = { ...tls, ca: pem('other-ca.pem'), verify: 'authority' as const };
    const wrong = connect(url, { kind: 'none' }, others);
    await until('refused', () => wrong.ends.length > 0);
    const shell = world.shell({ masters: [url], tls: { ...tls, verify: 'authority' } });
    await until('subscribed', () => shell.state.mesos.isSubscribed);
  });

  it('credential file, in each of its forms: subscribed by the stand-in', async () => {
    const world = await World.start({ credentials: { cistern: 's3cret' } });
    closers.push(() => world.close());
    const forms = [
      '{"principal": "cistern", "secret": "s3cret"}',
      '{"credentials": [{"principal": "cistern", "secret": "s3cret"}]}',
      'cistern\ns3cret\n',
    ];
    for (const [index, text] of forms.entries()) {
      const path = join(directory, `credential-${index}`);
      writeFileSync(path, text);
      const access = readMasterAccess(
        (option) => (option === 'credential-file' ? path : null),
        null,
      );
      expect(access.principal).to.equal('cistern');
      const shell = world.shell({ authorization: access.authorization });
      await until(`subscribed by form ${index}`, () => shell.state.mesos.isSubscribed);
      shell.close();
    }
  });

  it('headers of a command: sent with each request, fetched again once after 401', async () => {
    const counter = join(directory, 'counter');
    writeFileSync(counter, '');
    const command = `printf x >> '${counter}'; echo "Authorization: token=$(wc -c < '${counter}' | tr -d ' ')"`;
    const server = await ScriptedServer.listen((received) => {
      if (received.headers.authorization !== 'token=2') refuse(received, 401, 'expired');
      else if (received.body['type'] === 'SUBSCRIBE') openStream(received, [SUBSCRIBED]);
      else received.response.writeHead(202).end();
    });
    closers.push(() => server.close());
    const { client, events } = connect(server.address, { kind: 'command', command });
    await until('subscribed', () => events.length === 1);
    expect(events[0]?.type).to.equal('SUBSCRIBED');
    client.call({ type: 'REVIVE', revive: {} });
    await until('called', () => server.received.length === 3);
    expect(server.received.map(({ headers }) => headers.authorization)).to.deep.equal([
      'token=1',
      'token=2',
      'token=2',
    ]);
  });

  it('headers of a command that stay wrong: told after the second 401', async () => {
    const server = await ScriptedServer.listen((received) => refuse(received, 401, 'no'));
    closers.push(() => server.close());
    const command = `echo '{"Authorization": "token=a"}'`;
    const { events } = connect(server.address, { kind: 'command', command });
    await until('told', () => events.length > 0);
    expect(events[0]?.error?.message).to.match(/HTTP 401: no/);
    expect(server.received).to.have.length(2);
  });

  it('a token that runs out while subscribed: fetched again, subscribed anew', async () => {
    const path = join(directory, 'provider.mjs');
    writeFileSync(
      path,
      "let count = 0; export const headers = async () => ({ Authorization: 'token=' + ++count });",
    );
    let valid = 'token=1';
    const server = await ScriptedServer.listen((received) => {
      if (received.headers.authorization !== valid) refuse(received, 401, 'expired');
      else if (received.body['type'] === 'SUBSCRIBE') openStream(received, [SUBSCRIBED]);
      else received.response.writeHead(202).end();
    });
    closers.push(() => server.close());
    const { client, events } = connect(server.address, { kind: 'module', path });
    await until('subscribed', () => events.length === 1);
    valid = 'token=2';
    client.call({ type: 'REVIVE', revive: {} });
    await until('subscribed again', () => events.length === 2);
    expect(events.map(({ type }) => type)).to.deep.equal(['SUBSCRIBED', 'SUBSCRIBED']);
  });

  it('a command that fails: said, without its output, and tried again', async () => {
    const command = 'echo secret-part; echo "vault is sealed" >&2; exit 3';
    const { ends } = connect('127.0.0.1:1', { kind: 'command', command });
    await until('tried twice', () => ends.length >= 2);
    expect(ends[0]).to.match(/vault is sealed/);
    expect(ends.join()).to.not.include('secret-part');
  });

  it('executor: the token of its environment in each request; TLS with the authority it names', async () => {
    const seen: (string | undefined)[] = [];
    const plain = createServer((incoming, response) => {
      seen.push(incoming.headers.authorization);
      incoming.resume();
      response.writeHead(200, { 'Content-Type': JSON_TYPE });
      response.write(
        record({
          type: 'SUBSCRIBED',
          subscribed: {
            executor_info: { executor_id: { value: 'e' } },
            framework_info: { user: 'root', name: 'test' },
            agent_info: { hostname: 'agent1' },
          },
        }),
      );
    });
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
    closers.push(() => {
      plain.closeAllConnections();
      plain.close();
    });
    const url = await front(`http://127.0.0.1:${(plain.address() as AddressInfo).port}`);
    const hosts: string[] = [];
    const environment = readMesosEnvironment({
      MESOS_FRAMEWORK_ID: 'fw',
      MESOS_EXECUTOR_ID: 'node-1',
      MESOS_SLAVE_ID: 'agent',
      MESOS_AGENT_ENDPOINT: new URL(url).host,
      MESOS_CHECKPOINT: '1',
      MESOS_DIRECTORY: '/tmp',
      MESOS_EXECUTOR_AUTHENTICATION_TOKEN: 'a.b.c',
      LIBPROCESS_SSL_ENABLED: 'true',
      LIBPROCESS_SSL_CA_FILE: join(directory, 'ca.pem'),
    });
    const executor = createMesosExecutor({
      environment,
      contentType: JSON_TYPE,
      onLaunch: () => undefined,
      onKill: () => undefined,
      onMessage: () => undefined,
      onShutdown: () => undefined,
      onGiveUp: () => undefined,
      onSubscribed: (agent) => hosts.push(agent.hostname),
      log: () => undefined,
      clock: systemClock,
      random: systemRandom,
    });
    closers.push(() => executor.close());
    await until('subscribed', () => hosts.length === 1);
    expect(seen).to.deep.equal(['Bearer a.b.c']);
  });
});
