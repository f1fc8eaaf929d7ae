/**
 * The agent's resources as they really are: applies offer operations, keeps the result on disk, and
 * repeats the feedback (10 s, doubling to 10 min) until the scheduler has acknowledged it.
 */

import type { OfferOperation, OperationStatus, Resource } from '../../shared/mesos/messages.ts';
import type { OperationReport } from './agent-protocol.ts';
import { checkOperation } from './operations.ts';
import { contains, type Resources, subtract, sum, withoutAllocation } from './resources.ts';
import { freshUuid } from './task-status.ts';
import type { Cancel, Timing } from './timing.ts';
import { createVolume, destroyVolume } from './volumes.ts';

const RETRY_MS_MIN = 10_000;
const RETRY_MS_MAX = 600_000;

type Feedback = { readonly report: OperationReport; cancel: Cancel };

export type OperationsOutside = {
  readonly workDirectory: () => string;
  readonly agentId: () => string;
  readonly used: () => Resources;
  readonly forward: (report: OperationReport) => void;
  readonly save: () => void;
};

export class AgentOperations {
  total: readonly Resource[];
  readonly #timing: Timing;
  readonly #outside: OperationsOutside;
  /** By the uuid of the operation. */
  readonly #unacknowledged = new Map<string, Feedback>();

  constructor(total: Resources, timing: Timing, outside: OperationsOutside) {
    this.total = total;
    this.#timing = timing;
    this.#outside = outside;
  }

  apply(uuid: string, frameworkId: string | undefined, operation: OfferOperation): void {
    const status = this.#tryApply(operation);
    const report: OperationReport = { uuid, frameworkId, operation, status };
    if (operation.id !== undefined)
      this.#unacknowledged.set(uuid, { report, cancel: () => undefined });
    this.#outside.save();
    if (operation.id === undefined) this.#outside.forward(report);
    else this.#send(uuid, RETRY_MS_MIN);
  }

  #tryApply(operation: OfferOperation): OperationStatus {
    const made = {
      operation_id: operation.id,
      uuid: { value: freshUuid() },
      agent_id: { value: this.#outside.agentId() },
    };
    const checked = checkOperation(operation, {
      principal: undefined,
      roles: undefined,
      total: this.total,
      used: this.#outside.used(),
    });
    if (!checked.ok) return { ...made, state: 'OPERATION_DROPPED', message: checked.message };
    const consumed = withoutAllocation(checked.conversion.consumed);
    if (!contains(this.total, consumed)) {
      const message = 'The agent does not have the resources of the operation';
      return { ...made, state: 'OPERATION_DROPPED', message };
    }
    const converted = withoutAllocation(checked.conversion.converted);
    this.total = sum(subtract(this.total, consumed), converted);
    this.#changeDisks(operation, consumed, converted);
    return { ...made, state: 'OPERATION_FINISHED' };
  }

  #changeDisks(operation: OfferOperation, consumed: Resources, converted: Resources): void {
    const directory = this.#outside.workDirectory();
    if (operation.type === 'CREATE') for (const one of converted) createVolume(one, directory);
    if (operation.type === 'DESTROY') for (const one of consumed) destroyVolume(one, directory);
  }

  #send(uuid: string, retryMs: number): void {
    const feedback = this.#unacknowledged.get(uuid);
    if (feedback === undefined) return;
    feedback.cancel();
    this.#outside.forward(feedback.report);
    feedback.cancel = this.#timing.after(retryMs, () =>
      this.#send(uuid, Math.min(retryMs * 2, RETRY_MS_MAX)),
    );
  }

  acknowledge(statusUuid: Buffer): void {
    for (const [uuid, feedback] of this.#unacknowledged) {
      if (feedback.report.status.uuid?.value.equals(statusUuid) !== true) continue;
      feedback.cancel();
      this.#unacknowledged.delete(uuid);
      this.#outside.save();
    }
  }

  resend(): void {
    for (const uuid of this.#unacknowledged.keys()) this.#send(uuid, RETRY_MS_MIN);
  }

  dropFramework(frameworkId: string): void {
    for (const [uuid, feedback] of this.#unacknowledged) {
      if (feedback.report.frameworkId !== frameworkId) continue;
      feedback.cancel();
      this.#unacknowledged.delete(uuid);
    }
  }

  reports(): OperationReport[] {
    return [...this.#unacknowledged.values()].map((feedback) => feedback.report);
  }

  load(reports: readonly OperationReport[]): void {
    for (const report of reports) {
      this.#unacknowledged.set(report.uuid, { report, cancel: () => undefined });
    }
  }

  close(): void {
    for (const feedback of this.#unacknowledged.values()) feedback.cancel();
  }
}
