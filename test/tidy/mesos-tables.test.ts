/** The tables of surprises and of forbidden things are complete, and name tests that exist. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { ALSO, MUST_NOT, type NamedTest, SURPRISES } from './mesos-tables.ts';
import { PROJECT_ROOT, readSources } from './source-tree.ts';

/** Beside the project, where the recordings are; absent elsewhere. */
const SHARED = join(PROJECT_ROOT, '..', 'shared');

function complaints(where: string, tests: readonly NamedTest[]): string[] {
  if (tests.length === 0) return [`${where}: no test`];
  return tests.flatMap(({ file, title, scenario }) => {
    const path = join(PROJECT_ROOT, file);
    if (!existsSync(path)) return [`${where}: ${file} does not exist`];
    const text = readFileSync(path, 'utf8');
    if (scenario !== undefined && !text.includes(`'${scenario}'`)) {
      return [`${where}: ${file} does not replay ${scenario}`];
    }
    const isThere = ["'", '`', '"'].some((quote) => text.includes(`it(${quote}${title}`));
    return isThere || text.includes(`it(${title}`)
      ? []
      : [`${where}: ${file} has no test "${title}…"`];
  });
}

describe('tidy: tables of Mesos tests', () => {
  it('surprises: numbered without a gap, each has tests that exist', () => {
    const numbers = Object.keys(SURPRISES).map(Number);
    expect(numbers).to.deep.equal(numbers.map((_, index) => index + 1));
    const found = Object.entries(SURPRISES).flatMap(([number, tests]) =>
      complaints(`surprise ${number}`, tests),
    );
    expect(found).to.deep.equal([]);
  });

  it('must not: each has tests that exist', () => {
    expect(MUST_NOT.flatMap(({ what, tests }) => complaints(what, tests))).to.deep.equal([]);
    expect(complaints('also', ALSO)).to.deep.equal([]);
  });

  it('a made-up test: found', () => {
    const file = 'test/tidy/mesos-tables.test.ts';
    expect(complaints('x', [{ file, title: 'no such title' }])).to.have.length(1);
    expect(complaints('x', [{ file: 'test/none.test.ts', title: '' }])).to.have.length(1);
    expect(complaints('x', [])).to.have.length(1);
  });

  it('as many entries as the lists that they are about', function () {
    const surprises = join(SHARED, 'mesos-wire', 'README.md');
    const rules = join(SHARED, 'MESOS.md');
    if (!existsSync(surprises) || !existsSync(rules)) this.skip();
    const [, list = ''] = readFileSync(surprises, 'utf8').split('## Surprises');
    const count = list.split('\n').filter((line) => /^\d+\. /.test(line)).length;
    expect(Object.keys(SURPRISES).length).to.equal(count);
    const [, after = ''] = readFileSync(rules, 'utf8').split('### 8.2');
    const [section = ''] = after.split('\n## ');
    const items = section.split('\n').filter((line) => line.startsWith('- Must not'));
    expect(MUST_NOT.length).to.equal(items.length);
  });

  it('executors: no way to the flags of an agent, or to its host', () => {
    const bad = /systemctl|shutdown -|\/sbin\/reboot|--resources|--attributes|mesos-agent/;
    const found = readSources().filter(
      ({ path, text }) => path.startsWith('executor/') && bad.test(text),
    );
    expect(found.map(({ path }) => path)).to.deep.equal([]);
  });
});
