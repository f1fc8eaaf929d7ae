/** marathon.json: what Marathon accepts, and what three schedulers need. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { readConfig } from '../../../scheduler/config.ts';
import { PROJECT_ROOT } from '../../tidy/source-tree.ts';
import { findFaults } from './app-rules.ts';

interface App {
  readonly cmd: string;
  readonly instances: number;
  readonly constraints: readonly (readonly string[])[];
  readonly env: Readonly<Record<string, string>>;
  readonly upgradeStrategy: {
    readonly minimumHealthCapacity: number;
    readonly maximumOverCapacity: number;
  };
}

const app = JSON.parse(readFileSync(join(PROJECT_ROOT, 'marathon.json'), 'utf8')) as App;

describe('marathon.json', () => {
  it('marathon: the app definition, Marathon accepts it', () => {
    expect(findFaults(app)).to.deep.equal([]);
  });

  const broken: readonly [string, object, string][] = [
    ['a field that does not exist', { healthcheck: [] }, 'app.healthcheck: no such field'],
    ['cmd and args', { args: ['x'] }, 'either cmd or args'],
    ['an id with capitals', { id: '/Cistern' }, 'app.id'],
    ['a number in the environment', { env: { CISTERN_PG_COUNT: 1024 } }, 'CISTERN_PG_COUNT: text'],
    ['a check of a port that is not there', { portDefinitions: [] }, 'portIndex names no port'],
    ['UNIQUE with a value', { constraints: [['hostname', 'UNIQUE', 'x']] }, 'constraints[0]'],
    [
      'more than all must stay healthy',
      { upgradeStrategy: { minimumHealthCapacity: 2 } },
      '0 to 1',
    ],
  ];
  for (const [name, change, expected] of broken) {
    it(`marathon: ${name}, the rules notice`, () => {
      expect(findFaults({ ...app, ...change }).join('\n')).to.include(expected);
    });
  }

  it('marathon: three schedulers on three hosts, an upgrade replaces them one by one', () => {
    expect(app.instances).to.equal(3);
    expect(app.constraints).to.deep.include(['hostname', 'UNIQUE']);
    const { minimumHealthCapacity, maximumOverCapacity } = app.upgradeStrategy;
    expect(Math.ceil(app.instances * minimumHealthCapacity), 'some go on').to.equal(2);
    // There may be no fourth host for an instance beside the others.
    expect(Math.floor(app.instances * maximumOverCapacity)).to.equal(0);
  });

  it('marathon: its environment, the scheduler takes every setting in it', () => {
    const environment = { ...app.env, HOST: '10.0.0.1', PORT0: '31000', PORT1: '31001' };
    const config = readConfig([], environment);
    expect(config.clusterName).to.equal('production');
    expect(config.apiPort).to.equal(31000);
    expect(config.controlPort).to.equal(31001);
    expect(config.advertisedHost).to.equal('10.0.0.1');
    const source =
      readFileSync(join(PROJECT_ROOT, 'scheduler', 'config.ts'), 'utf8') +
      readFileSync(join(PROJECT_ROOT, 'scheduler', 'store-settings.ts'), 'utf8');
    for (const name of Object.keys(app.env)) {
      expect(source, `the scheduler reads ${name}`).to.include(`'${name.replace('CISTERN_', '')}'`);
    }
  });
});
