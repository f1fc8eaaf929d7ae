/** The house rules as functions: files in, complaints out. Each has a test with a violating sample. */
import { FORBIDDEN_IN_LOGIC, LAYERS, type LayerRule } from './layers.ts';
import type { SourceFile } from './source-tree.ts';

/** Longer files are probably two subjects (STYLE 10). */
export const FILE_LINES_MAX = 500;

const FORBIDDEN_NAMES = /(^|\/)(index|utils?|helpers?|common|misc|tools)\.tsx?$/;

export function findLayer(path: string): LayerRule | undefined {
  return LAYERS.find((rule) => rule.pattern.test(path));
}

export function checkLayers(files: readonly SourceFile[]): string[] {
  const complaints: string[] = [];
  for (const file of files) {
    const rule = findLayer(file.path);
    if (rule === undefined) {
      complaints.push(`${file.path}: belongs to no layer; name it in test/tidy/layers.ts`);
      continue;
    }
    for (const imported of file.imports) {
      const target = findLayer(imported);
      if (target === undefined || target.layer === rule.layer) continue;
      if (rule.mayImport.includes('*') || rule.mayImport.includes(target.layer)) continue;
      complaints.push(
        `${file.path} (${rule.layer}) imports ${imported} (${target.layer}), allowed: ${rule.mayImport.join(', ')}`,
      );
    }
  }
  return complaints;
}

/** Strongly connected groups of files, found by depth-first search; type imports count. */
export function checkCycles(files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const state = new Map<string, 'open' | 'done'>();
  const stack: string[] = [];
  const complaints: string[] = [];
  const visit = (path: string): void => {
    const file = byPath.get(path);
    if (file === undefined || state.get(path) === 'done') return;
    if (state.get(path) === 'open') {
      complaints.push(`Import cycle: ${[...stack.slice(stack.indexOf(path)), path].join(' → ')}`);
      return;
    }
    state.set(path, 'open');
    stack.push(path);
    for (const imported of file.imports) visit(imported);
    stack.pop();
    state.set(path, 'done');
  };
  for (const file of files) visit(file.path);
  return complaints;
}

export function checkPurity(files: readonly SourceFile[]): string[] {
  const complaints: string[] = [];
  for (const file of files) {
    if (findLayer(file.path)?.isAdapter !== false) continue;
    for (const name of file.packages) {
      if (name.startsWith('node:')) complaints.push(`${file.path}: imports ${name}; use a port`);
    }
    file.lines.forEach((line, index) => {
      if (isComment(line)) return;
      for (const { pattern, instead } of FORBIDDEN_IN_LOGIC) {
        if (pattern.test(line)) {
          complaints.push(`${file.path}:${index + 1}: ${line.trim()} — use ${instead}`);
        }
      }
    });
  }
  return complaints;
}

export function checkShape(files: readonly SourceFile[]): string[] {
  const complaints: string[] = [];
  for (const file of files) {
    if (FORBIDDEN_NAMES.test(file.path)) {
      complaints.push(`${file.path}: name the file for the noun or verb it owns`);
    }
    if (file.lines.length > FILE_LINES_MAX) {
      complaints.push(`${file.path}: ${file.lines.length} lines, at most ${FILE_LINES_MAX}`);
    }
    // A test's first line is its title; everything else says what it owns.
    if (!file.path.endsWith('.test.ts') && !/^\s*\/\*\*/.test(file.text)) {
      complaints.push(`${file.path}: begins without a comment that says what it owns`);
    }
    file.lines.forEach((line, index) => {
      if (/\b(TODO|FIXME|XXX)\b/.test(line) && !file.path.startsWith('test/tidy/')) {
        complaints.push(`${file.path}:${index + 1}: unfinished; finish it or throw a clear error`);
      }
      if (/^export default\b/.test(line)) {
        complaints.push(`${file.path}:${index + 1}: default export; export a name`);
      }
      if (/\b(describe|it|context)\.(only|skip)\(/.test(line)) {
        complaints.push(`${file.path}:${index + 1}: exclusive or skipped test`);
      }
    });
  }
  return complaints;
}

/** Both ways: every code has a row in the document, every row a code. */
export function checkErrorDocument(codes: readonly string[], document: string): string[] {
  const rows = [...document.matchAll(/^\| `([a-z-]+)` \|/gm)].map((match) => match[1] ?? '');
  return [
    ...codes.filter((code) => !rows.includes(code)).map((code) => `docs/errors.md misses ${code}`),
    ...rows.filter((row) => !codes.includes(row)).map((row) => `docs/errors.md has unknown ${row}`),
  ];
}

function isComment(line: string): boolean {
  return /^\s*(\/\/|\/?\*)/.test(line);
}
