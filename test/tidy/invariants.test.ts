/** docs/invariants.md is honest: its files and tests exist, and mutations and invariants know each other. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { MUTATIONS } from '../mutations/catalogue.ts';
import { applyEdits } from '../mutations/mutation.ts';
import { PROJECT_ROOT } from './source-tree.ts';

interface Row {
  readonly id: string;
  readonly enforced: string;
  readonly checked: string;
  readonly mutations: string;
}

function readRows(document: string): Row[] {
  return [...document.matchAll(/^\| ([A-Z]\d+) \|([^|]*)\|([^|]*)\|([^|]*)\|([^|]*)\|$/gm)].map(
    (match) => ({
      id: match[1] ?? '',
      enforced: match[3] ?? '',
      checked: match[4] ?? '',
      mutations: match[5] ?? '',
    }),
  );
}

/** Complaints about the list: files that do not exist, mutations on one side only, nothing checked. */
function checkRows(rows: readonly Row[], exists: (path: string) => boolean): string[] {
  const complaints: string[] = [];
  for (const { id, enforced, checked, mutations } of rows) {
    for (const [, path = ''] of `${enforced} ${checked}`.matchAll(/`([^`]+)`/g)) {
      if (!exists(path)) complaints.push(`${id}: names ${path}, which does not exist`);
    }
    if (!/`|not yet: |does not apply: /.test(checked)) complaints.push(`${id}: is not checked`);
    for (const [, name = ''] of mutations.matchAll(/`([^`]+)`/g)) {
      const mutation = MUTATIONS.find((known) => known.name === name);
      if (mutation === undefined) complaints.push(`${id}: there is no mutation ${name}`);
      else if (!mutation.breaks.includes(id)) complaints.push(`${name}: does not say ${id}`);
    }
  }
  for (const { name, breaks } of MUTATIONS) {
    for (const id of breaks) {
      const row = rows.find((known) => known.id === id);
      if (row === undefined) complaints.push(`${name}: breaks ${id}, which is not listed`);
      else if (!row.mutations.includes(`\`${name}\``)) complaints.push(`${id}: misses ${name}`);
    }
  }
  return complaints;
}

describe('tidy: invariants', () => {
  it('invariants: the list names what exists, and all mutations', () => {
    const rows = readRows(readFileSync(join(PROJECT_ROOT, 'docs/invariants.md'), 'utf8'));
    expect(rows.length).to.be.greaterThan(14);
    expect(checkRows(rows, (path) => existsSync(join(PROJECT_ROOT, path)))).to.deep.equal([]);
  });

  it('mutations: each edit fits its file exactly once', () => {
    for (const { name, edits } of MUTATIONS) {
      for (const { file } of edits) {
        const source = readFileSync(join(PROJECT_ROOT, file), 'utf8');
        expect(() => applyEdits(file, source, edits), name).not.to.throw();
      }
    }
  });

  it('mutations: names differ, and an edit that fits twice is refused', () => {
    expect(new Set(MUTATIONS.map(({ name }) => name)).size).to.equal(MUTATIONS.length);
    const edits = [{ file: 'a.ts', code: 'x', replacement: 'y' }];
    expect(() => applyEdits('a.ts', 'x + x', edits)).to.throw('found 2 times');
  });

  it('invariants: an unknown file, an unknown mutation and an unchecked one are named', () => {
    const rows = readRows('| I1 | a | `no/file.ts` | by nobody | `no-mutation` |\n');
    const complaints = checkRows(rows, () => false);
    expect(complaints.filter((complaint) => complaint.startsWith('I1: '))).to.have.length.above(2);
  });
});
