/** What a node reports, from the fields of its message (control-codec.ts) to checked values. */
import { diskId, jobId, pgId, volumeId } from '../base/ids.ts';
import type {
  AttachmentReport,
  AttachmentStatus,
  BackgroundUsage,
  BadBlocks,
  DiskReport,
  DiskStatus,
  JoinReport,
  MemberFailure,
  NodeReport,
  Notice,
  NoticeSeverity,
  PgUsage,
  VolumeUsage,
} from '../model/node-report.ts';
import {
  BACKGROUND_CLASSES,
  BAD_BLOCKS_MAX,
  FOREIGN_FOUND_MAX,
  FOREIGN_KINDS,
  NOTICES_MAX,
} from '../model/node-report.ts';
import { DISK_TIERS } from '../model/pool-selector.ts';
import {
  SCRUB_ORDERS_MAX,
  type ScrubOrder,
  type ScrubPosition,
  type ScrubReport,
} from '../model/scrub.ts';
import {
  atMost,
  each,
  type Fields,
  flag,
  id,
  optionalId,
  part,
  real,
  shortText,
  size,
  text,
  word,
} from './control-fields.ts';

const DISK_STATUSES: readonly DiskStatus[] = ['opening', 'serving', 'failed'];
const ATTACHMENT_STATUSES: readonly AttachmentStatus[] = [
  'opening',
  'serving',
  'paused',
  'closing',
];

const SEVERITIES: readonly NoticeSeverity[] = ['info', 'warning', 'error'];
/** Notices end up in the metadata store: their words are kept short. */
const NOTICE_SOURCE_MAX = 64;
const NOTICE_KIND_MAX = 40;
const NOTICE_TEXT_MAX = 500;
const UUID_MAX = 64;

export function readReport(fields: Fields): NodeReport {
  return {
    mapVersion: size(fields, 'mapVersion'),
    disks: each(fields, 'disks', readDiskReport),
    joins: each(fields, 'joins', readJoinReport),
    failures: each(fields, 'failures', readMemberFailure),
    attachments: each(fields, 'attachments', readAttachmentReport),
    volumeUsage: each(fields, 'volumeUsage', readVolumeUsage),
    ...readVolumeRange(fields),
    pgUsage: each(fields, 'pgUsage', readPgUsage),
    cpuSeconds: real(fields, 'cpuSeconds'),
    memoryBytes: size(fields, 'memoryBytes'),
    noticeSource: shortText(fields, 'noticeSource', NOTICE_SOURCE_MAX),
    notices: atMost(fields, 'notices', NOTICES_MAX, readNotice),
    badBlocks: atMost(fields, 'badBlocks', BAD_BLOCKS_MAX, readBadBlocks),
    scrubs: atMost(fields, 'scrubs', SCRUB_ORDERS_MAX, readScrubReport),
    background: atMost(fields, 'background', BACKGROUND_CLASSES.length, readBackground),
    grantAgeMs: size(fields, 'grantAgeMs'),
    ...readKeptVersion(fields),
  };
}

function readKeptVersion(fields: Fields): Pick<NodeReport, 'keptMapVersion'> {
  const keptMapVersion = size(fields, 'keptMapVersion');
  return keptMapVersion === 0 ? {} : { keptMapVersion };
}

function readVolumeRange(fields: Fields): Pick<NodeReport, 'volumeFrom' | 'volumeBelow'> {
  const volumeFrom = id(fields, 'volumeFrom');
  const volumeBelow = id(fields, 'volumeBelow');
  return volumeBelow === 0 ? {} : { volumeFrom, volumeBelow };
}

function readDiskReport(fields: Fields): DiskReport {
  return {
    id: diskId(id(fields, 'id')),
    uuid: text(fields, 'uuid'),
    status: word(fields, 'status', DISK_STATUSES),
    error: text(fields, 'error'),
    capacityBytes: size(fields, 'capacityBytes'),
    usedBytes: size(fields, 'usedBytes'),
    path: text(fields, 'path'),
    extentCount: size(fields, 'extentCount'),
    dirtyExtentCount: size(fields, 'dirtyExtentCount'),
    checksumErrorCount: size(fields, 'checksumErrorCount'),
    incarnation: id(fields, 'incarnation'),
    ...readTier(fields),
    ...readForeign(fields),
  };
}

function readTier(fields: Fields): Pick<DiskReport, 'tier'> {
  return text(fields, 'tier') === '' ? {} : { tier: word(fields, 'tier', DISK_TIERS) };
}

function readForeign(fields: Fields): Pick<DiskReport, 'foreign'> {
  const foreign = part(fields, 'foreign');
  if (foreign === null) return {};
  const kind = word(foreign, 'kind', FOREIGN_KINDS);
  const found = shortText(foreign, 'found', FOREIGN_FOUND_MAX);
  const disk = id(foreign, 'disk');
  const uuid = shortText(foreign, 'uuid', UUID_MAX);
  return { foreign: { kind, found, ...(disk === 0 ? {} : { disk, uuid }) } };
}

function readJoinReport(fields: Fields): JoinReport {
  return {
    pg: pgId(id(fields, 'pg')),
    disk: diskId(id(fields, 'disk')),
    epoch: id(fields, 'epoch'),
    totalBytes: size(fields, 'totalBytes'),
    doneBytes: size(fields, 'doneBytes'),
    isComplete: flag(fields, 'isComplete'),
    error: text(fields, 'error'),
  };
}

function readMemberFailure(fields: Fields): MemberFailure {
  return {
    pg: pgId(id(fields, 'pg')),
    epoch: id(fields, 'epoch'),
    disk: diskId(id(fields, 'disk')),
    reason: text(fields, 'reason'),
    sinceMs: size(fields, 'sinceMs'),
  };
}

function readAttachmentReport(fields: Fields): AttachmentReport {
  return {
    volume: volumeId(id(fields, 'volume')),
    generation: id(fields, 'generation'),
    status: word(fields, 'status', ATTACHMENT_STATUSES),
    reason: text(fields, 'reason'),
    socketPath: text(fields, 'socketPath'),
    tcpUri: text(fields, 'tcpUri'),
    clientCount: size(fields, 'clientCount'),
    readOps: size(fields, 'readOps'),
    writeOps: size(fields, 'writeOps'),
    readBytes: size(fields, 'readBytes'),
    writeBytes: size(fields, 'writeBytes'),
    readMicros: size(fields, 'readMicros'),
    writeMicros: size(fields, 'writeMicros'),
  };
}

function readVolumeUsage(fields: Fields): VolumeUsage {
  return {
    volume: volumeId(id(fields, 'volume')),
    disk: diskId(id(fields, 'disk')),
    bytes: size(fields, 'bytes'),
  };
}

function readPgUsage(fields: Fields): PgUsage {
  return {
    pg: pgId(id(fields, 'pg')),
    disk: diskId(id(fields, 'disk')),
    bytes: size(fields, 'bytes'),
  };
}

function readNotice(fields: Fields): Notice {
  const disk = optionalId(fields, 'disk');
  const pg = optionalId(fields, 'pg');
  const volume = optionalId(fields, 'volume');
  return {
    sequence: size(fields, 'sequence'),
    severity: word(fields, 'severity', SEVERITIES),
    kind: shortText(fields, 'kind', NOTICE_KIND_MAX),
    disk: disk === null ? null : diskId(disk),
    pg: pg === null ? null : pgId(pg),
    volume: volume === null ? null : volumeId(volume),
    extent: optionalId(fields, 'extent'),
    block: optionalId(fields, 'block'),
    blockCount: id(fields, 'blockCount'),
    text: shortText(fields, 'text', NOTICE_TEXT_MAX),
    ageMs: size(fields, 'ageMs'),
  };
}

function readBadBlocks(fields: Fields): BadBlocks {
  return {
    disk: diskId(id(fields, 'disk')),
    pg: pgId(id(fields, 'pg')),
    volume: volumeId(id(fields, 'volume')),
    extent: id(fields, 'extent'),
    block: id(fields, 'block'),
    blockCount: id(fields, 'blockCount'),
    isLost: flag(fields, 'isLost'),
  };
}

function readScrubReport(fields: Fields): ScrubReport {
  return {
    job: jobId(id(fields, 'job')),
    pg: pgId(id(fields, 'pg')),
    disk: diskId(id(fields, 'disk')),
    isDone: flag(fields, 'isDone'),
    position: readPosition(part(fields, 'position')),
    totalExtents: id(fields, 'totalExtents'),
    doneExtents: id(fields, 'doneExtents'),
    skippedExtents: id(fields, 'skippedExtents'),
    checkedBytes: size(fields, 'checkedBytes'),
    badBlocks: size(fields, 'badBlocks'),
    differingBlocks: size(fields, 'differingBlocks'),
    healedExtents: size(fields, 'healedExtents'),
    error: text(fields, 'error'),
  };
}

/** The manager's side of the same. */
export function readScrubOrder(fields: Fields): ScrubOrder {
  const volume = optionalId(fields, 'volume');
  return {
    job: jobId(id(fields, 'job')),
    pg: pgId(id(fields, 'pg')),
    disk: diskId(id(fields, 'disk')),
    volume: volume === null ? null : volumeId(volume),
    after: readPosition(part(fields, 'after')),
  };
}

function readPosition(fields: Fields | null): ScrubPosition | null {
  if (fields === null) return null;
  return {
    volume: id(fields, 'volume'),
    layer: id(fields, 'layer'),
    extent: id(fields, 'extent'),
  };
}

function readBackground(fields: Fields): BackgroundUsage {
  return { kind: word(fields, 'kind', BACKGROUND_CLASSES), bytes: size(fields, 'bytes') };
}
