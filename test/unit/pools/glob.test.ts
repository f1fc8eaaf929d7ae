import { expect } from 'chai';
import { matchesPath, matchesWord } from '../../../scheduler/core/pools/glob.ts';

describe('pools: patterns', () => {
  const paths: readonly (readonly [string, string, boolean])[] = [
    ['/mnt/a', '/mnt/a', true],
    ['/mnt/a', '/mnt/ab', false],
    ['/mnt/fast-*', '/mnt/fast-1', true],
    ['/mnt/fast-*', '/mnt/fast-1/x', false],
    ['/mnt/*/x', '/mnt/a/x', true],
    ['/mnt/**', '/mnt/a/b/c', true],
    ['/**/x', '/a/b/x', true],
    ['/mnt/disk?', '/mnt/disk1', true],
    ['/mnt?disk1', '/mnt/disk1', false],
    ['*', '/mnt', false],
    ['**', '/mnt', true],
    ['/mnt/a.c', '/mnt/abc', false],
    ['', '', true],
    ['', 'x', false],
  ];
  for (const [pattern, text, isMatch] of paths) {
    it(`"${pattern}" on "${text}": ${isMatch ? 'matches' : 'does not match'}`, () => {
      expect(matchesPath(pattern, text)).to.equal(isMatch);
    });
  }

  it('words: a star crosses slashes', () => {
    expect(matchesWord('r*', 'row/1')).to.equal(true);
    expect(matchesWord('r*2', 'row/1')).to.equal(false);
  });

  it('a pattern of many stars on a long text: answers at once', () => {
    expect(matchesPath('*a'.repeat(60), 'a'.repeat(500))).to.equal(true);
    expect(matchesPath(`${'*a'.repeat(60)}b`, 'a'.repeat(500))).to.equal(false);
  });
});
