import { expect } from 'chai';
import { parseDurationMs, readMesosEnvironment } from '../../../executor/mesos-environment.ts';
import { masterTarget, redirectTarget } from '../../../scheduler/mesos/masters.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import { MesosBackoff } from '../../../shared/node/mesos-connection.ts';

describe('mesos masters: addresses', () => {
  const good: readonly (readonly [string, string])[] = [
    ['10.0.0.1:5050', 'http://10.0.0.1:5050'],
    ['master.example:6060', 'http://master.example:6060'],
    ['http://m:5050', 'http://m:5050'],
    ['https://m:5050', 'https://m:5050'],
    ['m', 'http://m:5050'],
    ['http://m:80', 'http://m'],
    ['[::1]:5050', 'http://[::1]:5050'],
  ];
  for (const [text, origin] of good) {
    it(`"${text}": ${origin}`, () => {
      const target = { origin, path: '/api/v1/scheduler', socketPath: null };
      expect(masterTarget(text)).to.deep.equal(target);
    });
  }

  for (const text of ['', 'zk://a:2181/mesos', 'http://', 'm:99999', 'a b:5050']) {
    it(`"${text}": refused with an explanation`, () => {
      expect(() => masterTarget(text)).to.throw(StorageError, /expected "host:port"/);
    });
  }

  const from = masterTarget('http://m1:5050');
  const redirects: readonly (readonly [string, string | null])[] = [
    ['//m2:5150/master/api/v1/scheduler', 'http://m2:5150/master/api/v1/scheduler'],
    ['http://m2:5150/api/v1/scheduler', 'http://m2:5150/api/v1/scheduler'],
    ['m2.example:5150', 'http://m2.example:5150/api/v1/scheduler'],
    ['//m2:5150', 'http://m2:5150/api/v1/scheduler'],
    ['10.0.0.2:5050/api/v1/scheduler', 'http://10.0.0.2:5050/api/v1/scheduler'],
    ['', null],
    ['ftp://m2/x', null],
    ['//:', null],
  ];
  for (const [location, url] of redirects) {
    it(`redirect to "${location}": ${url ?? 'none'}`, () => {
      const target = redirectTarget(from, location);
      expect(target === null ? null : `${target.origin}${target.path}`).to.equal(url);
    });
  }

  it('redirect that would leave TLS: refused', () => {
    expect(redirectTarget(masterTarget('https://m1:5050'), 'http://m2:5050/x')).to.equal(null);
  });
});

describe('mesos environment: of an executor', () => {
  const variables = {
    MESOS_FRAMEWORK_ID: 'fw',
    MESOS_EXECUTOR_ID: 'e1',
    MESOS_SLAVE_ID: 'S1',
    MESOS_SLAVE_PID: 'slave(1)@127.0.0.1:5051',
    MESOS_AGENT_ENDPOINT: '127.0.0.1:5051',
    MESOS_CHECKPOINT: '1',
    MESOS_RECOVERY_TIMEOUT: '15mins',
    MESOS_SUBSCRIPTION_BACKOFF_MAX: '2secs',
    MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD: '6secs',
    MESOS_DIRECTORY: '/host/sandbox',
    MESOS_SANDBOX: '/sandbox',
  };

  it('as a real agent sets it', () => {
    expect(readMesosEnvironment(variables)).to.deep.equal({
      frameworkId: 'fw',
      executorId: 'e1',
      agentId: 'S1',
      target: {
        origin: 'http://127.0.0.1:5051',
        path: '/slave(1)/api/v1/executor',
        socketPath: null,
      },
      isCheckpointing: true,
      recoveryTimeoutMs: 900_000,
      resubscribeWithinMs: 2000,
      shutdownGraceMs: 6000,
      token: null,
      tls: null,
      sandbox: '/sandbox',
    });
  });

  it('domain socket and token', () => {
    const read = readMesosEnvironment({
      ...variables,
      MESOS_DOMAIN_SOCKET: '/run/agent.sock',
      MESOS_EXECUTOR_AUTHENTICATION_TOKEN: 'secret',
    });
    expect(read.target.socketPath).to.equal('/run/agent.sock');
    expect(read.token).to.equal('secret');
  });

  it('TLS: nothing checked as libprocess does it, until an authority or the check is asked for', () => {
    const read = (more: Record<string, string>) =>
      readMesosEnvironment({ ...variables, LIBPROCESS_SSL_ENABLED: '1', ...more });
    expect(read({}).target.origin).to.equal('https://127.0.0.1:5051');
    expect(read({}).tls?.verify).to.equal('none');
    expect(read({ LIBPROCESS_SSL_VERIFY_CERT: 'true' }).tls?.verify).to.equal('authority');
    expect(() => read({ LIBPROCESS_SSL_CA_FILE: '/none' })).to.throw(/LIBPROCESS_SSL_CA_FILE/);
    const plain = { LIBPROCESS_SSL_ENABLED: '0', LIBPROCESS_SSL_CA_FILE: '/none' };
    expect(read(plain).tls).to.equal(null);
  });

  it('missing identity, bad endpoint, bad duration: the variable is named', () => {
    const read = (more: Record<string, string | undefined>) => () =>
      readMesosEnvironment({ ...variables, ...more });
    expect(read({ MESOS_FRAMEWORK_ID: undefined })).to.throw(StorageError, /MESOS_FRAMEWORK_ID/);
    expect(read({ MESOS_AGENT_ENDPOINT: 'nowhere' })).to.throw(StorageError, /ENDPOINT/);
    expect(read({ MESOS_RECOVERY_TIMEOUT: 'soon' })).to.throw(StorageError, /RECOVERY/);
  });

  it('durations', () => {
    expect(['1secs', '2.5mins', '10ms', '1weeks', '3us'].map(parseDurationMs)).to.deep.equal([
      1000, 150_000, 10, 604_800_000, 0.003,
    ]);
    expect(['', '5', '5 s', 'secs', '-1secs', '1e3secs'].map(parseDurationMs)).to.deep.equal(
      Array(6).fill(null),
    );
  });
});

describe('mesos backoff', () => {
  it('full jitter below a doubling limit, from the start again after a reset', () => {
    const limits: number[] = [];
    const random = { u32: () => 0, uuid: () => '', below: (n: number) => limits.push(n) };
    const backoff = new MesosBackoff(random, { baseMs: 500, maxMs: 15_000 });
    for (let attempt = 0; attempt < 7; attempt += 1) backoff.nextMs();
    expect(limits).to.deep.equal([500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
    backoff.reset();
    backoff.nextMs();
    expect(limits.at(-1)).to.equal(500);
  });
});
