/** Settings of the scheduler: defaults, precedence, and refusals that name the setting. */
import { expect } from 'chai';
import { readConfig } from '../../../scheduler/config.ts';
import { StorageError } from '../../../shared/base/errors.ts';

function refusal(argv: readonly string[], environment: Record<string, string>): StorageError {
  try {
    readConfig(argv, environment);
  } catch (error) {
    if (error instanceof StorageError) return error;
    throw error;
  }
  throw new Error('Nothing was refused');
}

describe('scheduler config', () => {
  it('defaults: a lease of 4 s, expansion at 80 %, the hard limit at 95 %', () => {
    const config = readConfig([], {});
    expect(config.leaseMs).to.equal(4000);
    expect(config.expandAtRatio).to.equal(0.8);
    expect(config.fullAtRatio).to.equal(0.95);
    expect(config.claimPerNode).to.equal(null);
  });

  it('precedence: command line, then CISTERN_…, then Marathon', () => {
    expect(readConfig([], { PORT0: '31000' }).apiPort).to.equal(31000);
    expect(readConfig([], { PORT0: '31000', CISTERN_API_PORT: '8080' }).apiPort).to.equal(8080);
    const argv = ['--api-port', '9090'];
    expect(readConfig(argv, { PORT0: '31000', CISTERN_API_PORT: '8080' }).apiPort).to.equal(9090);
  });

  it('masters: a list, with and without scheme', () => {
    const config = readConfig([], { CISTERN_MASTER: 'a:5050,https://b:5051/' });
    expect(config.masters).to.deep.equal(['http://a:5050', 'https://b:5051']);
  });

  it('executor environment: pairs', () => {
    const config = readConfig([], { CISTERN_EXECUTOR_ENV: 'A=1,B=x=y' });
    expect(config.executorEnvironment).to.deep.equal({ A: '1', B: 'x=y' });
  });

  for (const [what, environment] of [
    ['a port above 65535', { CISTERN_API_PORT: '70000' }],
    ['a lease that is no number', { CISTERN_LEASE_MS: 'soon' }],
    ['PGs that are no power of two', { CISTERN_PG_COUNT: '100' }],
    ['an unknown log level', { CISTERN_LOG_LEVEL: 'loud' }],
    ['a master that is no address', { CISTERN_MASTER: 'ftp://x' }],
    ['a claim of zero disks', { CISTERN_CLAIM_PER_NODE: '0' }],
  ] as const) {
    it(`refused: ${what}, with field, value and what is allowed`, () => {
      const error = refusal([], environment);
      expect(error.code).to.equal('invalid-argument');
      expect(error.details).to.have.keys('field', 'given', 'allowed');
      expect(error.message).to.include(Object.values(environment)[0]);
    });
  }

  it('refused: an unknown option', () => {
    expect(refusal(['--portt', '1'], {}).code).to.equal('invalid-argument');
  });
});
