/**
 * Findings of the data plane on their way to the manager, which makes each an event: the last few, in
 * order, numbered within one run of the data process. Nobody waits for them and nothing depends on
 * them; they are reported again and again until newer ones push them out.
 */
import { NOTICES_MAX, type Notice } from '../shared/model/node-report.ts';
import type { Clock, Log } from '../shared/ports.ts';

/** What whoever raises a notice says; what does not apply is left out. */
export type Finding = Pick<Notice, 'severity' | 'kind' | 'text'> &
  Partial<Pick<Notice, 'disk' | 'pg' | 'volume' | 'extent' | 'block' | 'blockCount'>>;

export type RaiseNotice = (finding: Finding) => void;

/** Longer ones are cut: they end up in the metadata store. */
const TEXT_MAX = 500;

export class NoticeBoard {
  readonly #modules: { readonly clock: Clock; readonly log: Log };
  readonly #onUrgent: () => void;
  readonly #kept: { readonly notice: Notice; readonly raisedMs: number }[] = [];
  #sequence = 0;

  constructor(modules: { readonly clock: Clock; readonly log: Log }, onUrgent: () => void) {
    this.#modules = modules;
    this.#onUrgent = onUrgent;
  }

  readonly raise: RaiseNotice = (finding) => {
    const { clock, log } = this.#modules;
    this.#sequence += 1;
    const notice: Notice = {
      disk: null,
      pg: null,
      volume: null,
      extent: null,
      block: null,
      blockCount: 0,
      ...finding,
      text: finding.text.slice(0, TEXT_MAX),
      sequence: this.#sequence,
      ageMs: 0,
    };
    this.#kept.push({ notice, raisedMs: clock.now() });
    if (this.#kept.length > NOTICES_MAX) this.#kept.shift();
    const { severity, kind, text, disk, pg, volume, extent, block, blockCount } = notice;
    const level = severity === 'warning' ? 'warn' : severity;
    log(level, 'Finding', { kind, text, disk, pg, volume, extent, block, blockCount });
    this.#onUrgent();
  };

  /** Oldest first. */
  list(): readonly Notice[] {
    const nowMs = this.#modules.clock.now();
    return this.#kept.map(({ notice, raisedMs }) => ({
      ...notice,
      ageMs: Math.max(0, Math.round(nowMs - raisedMs)),
    }));
  }
}
