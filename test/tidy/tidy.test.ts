/** The house rules, run on the tree, and each shown to catch a sample that breaks it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { ERROR_CODES } from '../../shared/base/errors.ts';
import { checkCycles, checkErrorDocument, checkLayers, checkPurity, checkShape } from './rules.ts';
import { PROJECT_ROOT, parseSource, readSources } from './source-tree.ts';

const sources = readSources();

describe('tidy: the tree', () => {
  it('layers: every file imports only what its layer may', () => {
    expect(sources.length).to.be.greaterThan(50);
    expect(checkLayers(sources)).to.deep.equal([]);
  });

  it('cycles: there are none', () => {
    expect(checkCycles(sources)).to.deep.equal([]);
  });

  it('purity: logic uses no clock, timer, randomness or module of Node', () => {
    expect(checkPurity(sources)).to.deep.equal([]);
  });

  it('shape: names, lengths, headers, nothing unfinished', () => {
    expect(checkShape(sources)).to.deep.equal([]);
  });

  it('errors: docs/errors.md lists exactly the codes', () => {
    const document = readFileSync(join(PROJECT_ROOT, 'docs/errors.md'), 'utf8');
    expect(checkErrorDocument(Object.keys(ERROR_CODES), document)).to.deep.equal([]);
  });

  it('lock file: records no download addresses', () => {
    const lock = readFileSync(join(PROJECT_ROOT, 'package-lock.json'), 'utf8');
    expect(lock).not.to.match(/"resolved": "http/);
  });
});

describe('tidy: the rules catch what they forbid', () => {
  const header = '/** Owns nothing. */\n';

  it('layers: base importing a port', () => {
    const file = parseSource('shared/base/x.ts', `${header}import { a } from '../ports.ts';\n`);
    expect(checkLayers([file])).to.have.length(1);
  });

  it('layers: gateway importing replica', () => {
    const text = `${header}import { a } from '../replica/server.ts';\n`;
    expect(checkLayers([parseSource('executor/gateway/x.ts', text)])).to.have.length(1);
  });

  it('cycles: two files that import each other', () => {
    const a = parseSource('cli/a.ts', `${header}import { b } from './b.ts';\n`);
    const b = parseSource('cli/b.ts', `${header}import type { a } from './a.ts';\n`);
    expect(checkCycles([a, b])).to.have.length(1);
  });

  it('purity: a clock and a module of Node in the core', () => {
    const text = `${header}import fs from 'node:fs';\nconst t = Date.now();\n// Date.now() in a comment\n`;
    expect(checkPurity([parseSource('scheduler/core/x.ts', text)])).to.have.length(2);
  });

  it('shape: a drawer, a missing header, an unfinished line, a default export', () => {
    const text = `// TO${'DO'}: later\nexport default 1;\n`;
    expect(checkShape([parseSource('cli/utils.ts', text)])).to.have.length(4);
  });

  it('errors: a missing and an unknown row', () => {
    expect(checkErrorDocument(['a', 'b'], '| `a` | x |\n| `c` | y |\n')).to.have.length(2);
  });
});
