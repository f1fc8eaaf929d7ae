/** Copies npm packages with all that they need at run time, and only this platform's binaries. */
import { cpSync, existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/** Sources and recipes of the packages whose native parts are prebuilt. */
export const NATIVE_SOURCES =
  /^\/(src|deps|dependencies|vendor|doc|docs|test|tests|benchmark|assets|rust|\.github)(\/|$)/;

/**
 * `leftOut`: paths within a package, from `/` on, that stay behind. Throws when a package that is not optional
 * is not installed below `root`.
 */
export function copyProductionPackages(root, names, target, leftOut = null) {
  const pending = names.map((name) => ({ name, from: root, isOptional: false }));
  const seen = new Set();
  while (pending.length > 0) {
    const { name, from, isOptional } = pending.pop();
    const source = resolvePackage(root, from, name);
    if (source === null) {
      if (isOptional) continue; // Of another platform.
      throw new Error(`Package "${name}" is not installed; run: npm ci`);
    }
    if (seen.has(source)) continue;
    seen.add(source);
    const manifest = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8'));
    const place = relative(join(root, 'node_modules'), source);
    // What lies within another package comes with that one.
    if (!place.includes('node_modules')) copyRuntimeFiles(source, join(target, place), leftOut);
    const optional = manifest.optionalDependencies ?? {};
    for (const needed of Object.keys({ ...manifest.dependencies, ...optional })) {
      pending.push({ name: needed, from: source, isOptional: isOptional || needed in optional });
    }
  }
}

/** As Node.js looks for it: in the nearest node_modules, from `from` up to `root`; null when it is nowhere. */
function resolvePackage(root, from, name) {
  for (let folder = from; ; folder = dirname(folder)) {
    const path = join(folder, 'node_modules', name);
    if (existsSync(join(path, 'package.json'))) return path;
    if (folder === root) return null;
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
