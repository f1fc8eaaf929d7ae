/**
 * Which volumes this node serves: one gateway per volume that the map attaches here, under that
 * attachment's generation, and its export to clients while it serves. Follows the map: starts, drains
 * and stops; one gateway of a volume at a time.
 */

import { describeError } from '../../shared/base/errors.ts';
import type { NodeId, VolumeId } from '../../shared/base/ids.ts';
import type { MapVolume } from '../../shared/model/cluster-map.ts';
import type {
  AttachmentReport,
  AttachmentStatus,
  MemberFailure,
} from '../../shared/model/node-report.ts';
import type { BlockDevice } from './block-device.ts';
import { VolumeDevice } from './volume-device.ts';
import type { VolumeDeviceModules } from './volume-options.ts';

/** How clients reach one volume. */
export interface VolumeExport {
  readonly socketPath: string;
  readonly tcpUri: string;
  clientCount(): number;
  /** Disconnects the clients; resolves when they are gone. */
  stop(): Promise<void>;
}

/** Starts an export of `device`: the NBD server in production. */
export type StartExport = (volume: MapVolume, device: BlockDevice) => Promise<VolumeExport>;

export interface AttachmentsOptions {
  readonly self: NodeId;
  readonly requestDeadlineMs: number;
  /** How long a detach waits for requests under way and the last flush. */
  readonly drainMs: number;
}

export interface AttachmentsModules extends VolumeDeviceModules {
  readonly startExport: StartExport;
}

interface Attachment {
  readonly volume: MapVolume;
  readonly device: VolumeDevice;
  export: VolumeExport | null;
  /** Resolves when the export that is being started stands or has failed. */
  starting: Promise<void> | null;
  error: string;
  isClosing: boolean;
}

export class Attachments {
  readonly #options: AttachmentsOptions;
  readonly #modules: AttachmentsModules;
  readonly #attachments = new Map<VolumeId, Attachment>();
  readonly #closing = new Set<Promise<void>>();
  #isClosed = false;

  constructor(options: AttachmentsOptions, modules: AttachmentsModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** After a new map. */
  refresh(): void {
    for (const attachment of this.#attachments.values()) {
      const wanted = this.#wanted(attachment.volume.id);
      const isCurrent = wanted?.generation === attachment.volume.generation;
      if (isCurrent) attachment.device.onMap();
      else this.#detach(attachment);
    }
    if (this.#isClosed) return;
    for (const volume of this.#modules.map.volumes.values()) {
      if (volume.attachedTo !== this.#options.self || volume.generation === 0) continue;
      // One that is still being closed gives way first; `#detach` comes back here.
      if (!this.#attachments.has(volume.id)) this.#attach(volume);
    }
  }

  /** The lease was extended. */
  pump(): void {
    for (const attachment of this.#attachments.values()) attachment.device.pump();
  }

  /** The gateway of a volume attached here; null when there is none. */
  find(volume: VolumeId): VolumeDevice | null {
    return this.#attachments.get(volume)?.device ?? null;
  }

  /** Finished reads and writes of all volumes here so far, and what they took together. */
  latency(): { readonly operations: number; readonly micros: number } {
    let operations = 0;
    let micros = 0;
    for (const { device } of this.#attachments.values()) {
      const { readOps, writeOps, readMicros, writeMicros } = device.counters;
      operations += readOps + writeOps;
      micros += readMicros + writeMicros;
    }
    return { operations, micros };
  }

  failures(): readonly MemberFailure[] {
    return [...this.#attachments.values()].flatMap((attachment) => attachment.device.failures());
  }

  reports(): readonly AttachmentReport[] {
    return [...this.#attachments.values()].map(reportOf);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const attachment of this.#attachments.values()) this.#detach(attachment);
    await Promise.all(this.#closing);
  }

  #wanted(id: VolumeId): MapVolume | null {
    const volume = this.#modules.map.volumes.get(id);
    return volume?.attachedTo === this.#options.self ? volume : null;
  }

  #attach(volume: MapVolume): void {
    const { requestDeadlineMs } = this.#options;
    const device = new VolumeDevice({ volume, requestDeadlineMs }, this.#modules);
    const attachment: Attachment = {
      volume,
      device,
      export: null,
      starting: null,
      error: '',
      isClosing: false,
    };
    this.#attachments.set(volume.id, attachment);
    device.onServing(() => {
      attachment.starting = this.#startExport(attachment);
    });
  }

  async #startExport(attachment: Attachment): Promise<void> {
    const { log, onUrgent, startExport } = this.#modules;
    try {
      attachment.export = await startExport(attachment.volume, attachment.device);
    } catch (error) {
      attachment.error = describeError(error);
      log('error', 'Could not export a volume', {
        volume: attachment.volume.id,
        error: attachment.error,
      });
    }
    onUrgent();
  }

  #detach(attachment: Attachment): void {
    if (attachment.isClosing) return;
    attachment.isClosing = true;
    const closing = this.#close(attachment).finally(() => {
      this.#closing.delete(closing);
      this.#attachments.delete(attachment.volume.id);
      if (!this.#isClosed) this.refresh();
      this.#modules.onUrgent();
    });
    this.#closing.add(closing);
  }

  async #close(attachment: Attachment): Promise<void> {
    await attachment.device.close(this.#options.drainMs);
    await attachment.starting;
    try {
      await attachment.export?.stop();
    } catch (error) {
      this.#modules.log('warn', 'Could not stop the export of a volume', {
        volume: attachment.volume.id,
        error: describeError(error),
      });
    }
  }
}

/** A device that serves is of use to nobody before clients can reach it. */
function statusOf({ isClosing, device, export: exported }: Attachment): AttachmentStatus {
  if (isClosing) return 'closing';
  return device.status === 'serving' && exported === null ? 'opening' : device.status;
}

function reportOf(attachment: Attachment): AttachmentReport {
  const { volume, device, error } = attachment;
  const { counters } = device;
  return {
    volume: volume.id,
    generation: volume.generation,
    status: statusOf(attachment),
    reason: error === '' ? device.reason : error,
    socketPath: attachment.export?.socketPath ?? '',
    tcpUri: attachment.export?.tcpUri ?? '',
    clientCount: attachment.export?.clientCount() ?? 0,
    readOps: counters.readOps,
    writeOps: counters.writeOps,
    readBytes: counters.readBytes,
    writeBytes: counters.writeBytes,
    readMicros: Math.round(counters.readMicros),
    writeMicros: Math.round(counters.writeMicros),
  };
}
