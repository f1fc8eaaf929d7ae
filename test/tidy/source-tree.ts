/** Reads the project's sources for the house rules: files, their lines and their imports. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** From dist/test/tidy (or another build folder) up to the folder that holds package.json. */
export const PROJECT_ROOT = findRoot(dirname(fileURLToPath(import.meta.url)));

export interface SourceFile {
  /** Relative to the project root, with `/`. */
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
  /** Relative imports as paths from the project root. */
  readonly imports: readonly string[];
  /** Packages and `node:` modules. */
  readonly packages: readonly string[];
}

const FOLDERS = [
  'shared',
  'scheduler',
  'executor',
  'recovery',
  'cli',
  'dashboard',
  'dev',
  'bench',
  'test',
];
const IMPORT =
  /^\s*(?:import|export)\b[^'"]*?from\s+'([^']+)'|^\s*import\s+'([^']+)'|\bimport\('([^']+)'\)/gm;

export function readSources(root: string = PROJECT_ROOT): readonly SourceFile[] {
  const files: SourceFile[] = [];
  for (const folder of FOLDERS) collect(root, join(root, folder), files);
  return files;
}

export function parseSource(path: string, text: string): SourceFile {
  const imports: string[] = [];
  const packages: string[] = [];
  for (const match of text.matchAll(IMPORT)) {
    const specifier = match[1] ?? match[2] ?? match[3] ?? '';
    if (specifier.startsWith('.')) imports.push(posix.join(posix.dirname(path), specifier));
    else packages.push(specifier);
  }
  return { path, text, lines: text.split('\n'), imports, packages };
}

function collect(root: string, folder: string, files: SourceFile[]): void {
  let entries: import('node:fs').Dirent[];
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch {
    return; // A folder that does not exist yet has no files.
  }
  for (const entry of entries.sort((a, b) => a.name.localeCompare(b.name))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (entry.name !== 'vectors') collect(root, path, files);
    } else if (/\.tsx?$/.test(entry.name)) {
      const name = relative(root, path).split('\\').join('/');
      files.push(parseSource(name, readFileSync(path, 'utf8')));
    }
  }
}

function findRoot(start: string): string {
  for (let folder = start; ; folder = dirname(folder)) {
    try {
      const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
        name?: string;
      };
      if (manifest.name === 'cistern') return folder;
    } catch {
      // Not here: look one level up.
    }
    if (folder === dirname(folder)) throw new Error(`No package.json of cistern above ${start}`);
  }
}
