/**
 * What the operator API needs of the manager: views to read, commands to execute, and a call when
 * something changed. The shell implements it over the state of the leading manager; tests implement
 * it over generated views. Reading is synchronous and cheap: all state is in memory.
 */

import type { StorageError } from '../../shared/base/errors.ts';
import type { NodeId } from '../../shared/base/ids.ts';
import type { AgentView } from '../../shared/model/agent-view.ts';
import type {
  AttachmentView,
  ClusterView,
  DiskView,
  EventView,
  JobView,
  NodeView,
  PgView,
  PoolView,
  UninstallView,
  UpgradeView,
  VolumeView,
} from '../../shared/model/api-views.ts';
import type { ExplainView } from '../../shared/model/explanation-view.ts';
import type { PlanView, PoolDocument } from '../../shared/model/pool-settings.ts';
import type { Command, CommandResult } from '../core/contract.ts';

/** Absent fields do not filter. `disk` (`d7`): PGs that have it in sync, joining or as a target. */
export interface PgFilter {
  readonly pool?: string;
  readonly state?: PgView['state'];
  readonly disk?: string;
}

/** Whether this scheduler leads. `reason`: why not, as one sentence; empty when it does. */
export interface Leadership {
  readonly isLeading: boolean;
  readonly reason: string;
  /** It waits for its turn: as healthy as a leader (standby-port.ts). */
  readonly isStandby?: boolean;
}

export interface ManagerPort {
  /**
   * While it is not leading, only this one may be called: the API answers 503 to everything else. (A standby that
   * has a copy of the facts lends its views, see standby-port.ts.)
   */
  leadership(): Leadership;
  cluster(): ClusterView;
  nodes(): readonly NodeView[];
  node(id: NodeId): NodeView | null;
  /** Agents that offered something, and those of our nodes. */
  agents(): readonly AgentView[];
  /** By Mesos' id, node id (`n3`) or hostname; null: nobody knows it. */
  agent(given: string): AgentView | null;
  disks(): readonly DiskView[];
  pools(): readonly PoolView[];
  /** What a document would change; null: what is pending as it is. An error: the document makes no sense. */
  plan(document: PoolDocument | null): PlanView | StorageError;
  pgs(filter: PgFilter): readonly PgView[];
  volumes(): readonly VolumeView[];
  attachments(): readonly AttachmentView[];
  jobs(): readonly JobView[];
  upgrade(): UpgradeView;
  uninstall(): UninstallView;
  /** Events with an id above `sinceId`, in order of id; when there are more than `limit`, the newest. */
  events(sinceId: number, limit: number): readonly EventView[];
  /** Everything that is not green, or one subject; null: there is no such thing. */
  explain(subject: string | null): ExplainView | null;
  /** `listener` runs after each committed step; it must be quick and must not throw. Returns the end of it. */
  subscribe(listener: () => void): () => void;
  /** Never rejects for operating errors: those are results. */
  execute(command: Command): Promise<CommandResult>;
}
