/** Copies npm packages with all that they need at run time, and only this platform's binaries. */
import { cpSync, existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Sources and recipes of the packages whose native parts are prebuilt. */
export const NATIVE_SOURCES =
  /^\/(src|deps|dependencies|vendor|doc|docs|test|tests|benchmark|assets|rust|\.github)(\/|$)/;

/**
 * `leftOut`: paths within a package, from `/` on, that stay behind. Throws when a package that is not optional
 * is not installed below `root`.
 */
export function copyProductionPackages(root, names, target, leftOut = null) {
  const pending = names.map((name) => ({ name, isOptional: false }));
  const seen = new Set();
  while (pending.length > 0) {
    const { name, isOptional } = pending.pop();
    if (seen.has(name)) continue;
    const source = join(root, 'node_modules', name);
    if (!existsSync(source)) {
      if (isOptional) continue; // Of another platform.
      throw new Error(`Package "${name}" is not installed; run: npm ci`);
    }
    seen.add(name);
    const manifest = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8'));
    copyRuntimeFiles(source, join(target, name), leftOut);
    for (const [kind, optional] of [
      ['dependencies', false],
      ['optionalDependencies', true],
    ]) {
      for (const needed of Object.keys(manifest[kind] ?? {})) {
        const isIncluded = existsSync(join(source, 'node_modules', needed));
        if (!isIncluded) {
          const isAlsoOptional = needed in (manifest.optionalDependencies ?? {});
          pending.push({ name: needed, isOptional: optional || isAlsoOptional || isOptional });
        }
      }
    }
  }
}

/** Documentation, type declarations, C and C++ sources and build recipes stay behind. */
function copyRuntimeFiles(source, target, leftOut) {
  cpSync(source, target, {
    recursive: true,
    filter: (path) => {
      if (leftOut?.test(path.slice(source.length))) return false;
      return (
        statSync(path).isDirectory() ||
        !/\.(md|ts|cts|mts|map|cc|cpp|c|h|hh|gyp|txt)$/.test(path.slice(source.length))
      );
    },
  });
}
