/**
 * Compiles a mutated source in place of its built module: a loader hook of Node, which runs in a thread of
 * its own. `mutateModules` registers it; only modules imported after that are touched.
 */
import { readFileSync } from 'node:fs';
import { type LoadHook, register } from 'node:module';
import { join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'esbuild';
import { applyEdits, type Edit } from './mutation.ts';

interface HookData {
  /** Folder of the built modules, and of their sources. */
  readonly builtRoot: string;
  readonly sourceRoot: string;
  readonly edits: readonly Edit[];
}

let data: HookData | null = null;

/** Call before anything of the project is imported (dynamically). */
export function mutateModules(sourceRoot: string, edits: readonly Edit[]): void {
  const builtRoot = join(fileURLToPath(import.meta.url), '../../..');
  const hook: HookData = { builtRoot, sourceRoot, edits };
  register(import.meta.url, { data: hook });
}

export function initialize(given: HookData): void {
  data = given;
}

export const load: LoadHook = async (url, context, nextLoad) => {
  if (data === null || !url.startsWith('file:')) return nextLoad(url, context);
  const { builtRoot, sourceRoot, edits } = data;
  const path = fileURLToPath(url);
  if (!path.startsWith(builtRoot + sep)) return nextLoad(url, context);
  const file = path
    .slice(builtRoot.length + 1)
    .split(sep)
    .join('/')
    .replace(/\.js$/, '.ts');
  if (!edits.some((edit) => edit.file === file)) return nextLoad(url, context);
  const source = applyEdits(file, readFileSync(join(sourceRoot, file), 'utf8'), edits);
  return { format: 'module', shortCircuit: true, source: compile(file, source) };
};

function compile(file: string, source: string): string {
  const { code } = transformSync(source.replace(/(from\s+'\.[^']*)\.ts'/g, "$1.js'"), {
    loader: 'ts',
    format: 'esm',
    target: 'es2022',
    sourcefile: file,
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
  });
  return code;
}
