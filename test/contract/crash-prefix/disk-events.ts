/**
 * What a store did to its disk, in order: the record that crash-prefix tests cut anywhere. An operation that
 * takes time has an event when it begins and an `end` when its success was reported; only what has ended
 * before a sync began is durable when that sync has ended. Marks are not the disk's: they say what the
 * store had promised by then.
 */
import type { BlockValue } from '../../unit/disk/block-model.ts';

export type CrashKind = 'process' | 'power';

export type DiskEvent =
  | { readonly kind: 'create'; readonly name: string }
  | {
      readonly kind: 'write';
      readonly id: number;
      readonly name: string;
      readonly offset: number;
      readonly bytes: Buffer;
    }
  | {
      readonly kind: 'punch';
      readonly id: number;
      readonly name: string;
      readonly offset: number;
      readonly length: number;
    }
  | { readonly kind: 'truncate'; readonly id: number; readonly name: string; readonly size: number }
  | { readonly kind: 'sync'; readonly id: number; readonly name: string }
  | { readonly kind: 'end'; readonly id: number }
  /** A small file, atomically: old or new whatever happens. */
  | { readonly kind: 'replace'; readonly name: string; readonly bytes: Buffer }
  | { readonly kind: 'remove'; readonly name: string }
  /** The index as it was made or found; the bytes of LMDB's file. */
  | { readonly kind: 'index'; readonly bytes: Buffer }
  | { readonly kind: 'commit'; readonly id: number; readonly after: { bytes: Buffer } }
  | { readonly kind: 'mark'; readonly mark: Mark };

/** What was asked of the store and what it answered (workload.ts), in the order of its events. */
export type Mark =
  | {
      readonly kind: 'begin';
      readonly id: number;
      readonly key: string;
      readonly value: BlockValue;
    }
  | { readonly kind: 'end'; readonly id: number; readonly isDone: boolean }
  | { readonly kind: 'flush-begin' | 'flush-end'; readonly id: number }
  | { readonly kind: 'clean'; readonly extents: readonly string[] }
  /** A pull was refused in part: only reading tells what the extent holds. */
  | { readonly kind: 'uncertain'; readonly extent: string }
  /** Open, with this incarnation; null: on its way to a clean end. */
  | { readonly kind: 'open'; readonly incarnation: number | null }
  | { readonly kind: 'epoch'; readonly pg: number; readonly epoch: number }
  | { readonly kind: 'generation'; readonly volume: number; readonly generation: number }
  /** The store was opened after a crash, and this is what it holds. */
  | { readonly kind: 'settled'; readonly found: ReadonlyMap<string, BlockValue> };
