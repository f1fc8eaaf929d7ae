/**
 * `cistern rescue`: reads disks without any cluster, and never writes to them. Lists what lies there and
 * writes a volume out as a raw image. The work is done in `recovery/`, which is loaded only when it is used.
 */
import { writeFileSync } from 'node:fs';
import type { Verdict } from '../recovery/block-choice.ts';
import type { ExportResult } from '../recovery/rescue-export.ts';
import type { FoundVolume, RescueSet } from '../recovery/rescue-set.ts';
import { describeError, StorageError } from '../shared/base/errors.ts';
import { formatDisk, formatNode, formatVolume } from '../shared/base/ids.ts';
import { EXTENT_BYTES, formatBytes } from '../shared/base/units.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import { EXIT_OK } from './failures.ts';
import { renderTable } from './table.ts';

/** The image is there, and some of it is not certain. */
const EXIT_DOUBTFUL = 4;
/** Some ranges could not be read from any disk; they are zeros in the image. */
const EXIT_LOST = 5;

const HELP = `Read disks without a cluster. The disks are never written to.

  cistern rescue list DIR...                                     what lies on these disks
  cistern rescue export --volume NAME --output FILE DIR...       one volume as a raw image

Stop the executors first: a disk that is being written to cannot be judged. DIR is
the directory of a disk (it holds superblock.json), or one above several of them.
Name every disk that is left: the more copies, the more certain.

Exit codes of export: 0 all good; 4 written, but doubtful somewhere; 5 something is
lost (zeros in the image). --report FILE has the verdict of each range.`;

interface RescueArgs {
  readonly dirs: readonly string[];
  readonly scratch: string | undefined;
}

interface ExportArgs extends RescueArgs {
  readonly volume: string;
  readonly output: string;
  readonly report: string | undefined;
  readonly force: boolean;
}

const DIRS = {
  describe: 'Directories of disks, or above them',
  type: 'string',
  array: true,
  demandOption: true,
} as const;
const SCRATCH = {
  type: 'string',
  requiresArg: true,
  describe: "Directory for copies of the disks' indexes (some KiB per extent); else the system's",
} as const;

export function addRescueCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command('rescue', 'Read disks without a cluster; never writes to them', (rescue) =>
    rescue
      .usage(HELP)
      // Several directories: elsewhere the last of several words counts.
      .parserConfiguration({ 'duplicate-arguments-array': true })
      .command(
        'list <dirs..>',
        'Volumes, extents and their state',
        (one) => one.positional('dirs', DIRS).option('scratch', SCRATCH),
        runAction<RescueArgs>(list),
      )
      .command(
        'export <dirs..>',
        'Write a volume out as a raw image',
        (one) =>
          one
            .positional('dirs', DIRS)
            .option('volume', {
              type: 'string',
              requiresArg: true,
              demandOption: true,
              describe: 'Name or number (v5), as "cistern rescue list" shows it',
            })
            .option('output', {
              type: 'string',
              requiresArg: true,
              demandOption: true,
              describe: 'The image; a sparse file',
            })
            .option('report', {
              type: 'string',
              requiresArg: true,
              describe: 'Write the verdict of every range to this file, as JSON',
            })
            .option('force', {
              type: 'boolean',
              default: false,
              describe: 'Write over an existing file',
            })
            .option('scratch', SCRATCH),
        runAction<ExportArgs>(exportImage),
      )
      .demandCommand(1, 'What should be done with the disks? list or export'),
  );
}

async function withSet<T>(
  cli: Cli,
  args: RescueArgs,
  action: (set: RescueSet) => Promise<T>,
): Promise<T> {
  const { openRescueSet } = await import('../recovery/rescue-set.ts');
  const set = await openRescueSet(args.dirs, args.scratch ?? null, (text) => cli.explain(text));
  try {
    for (const problem of set.problems) cli.explain(`• ${problem}`);
    return await action(set);
  } finally {
    await set.close();
  }
}

// ── List ─────────────────────────────────────────────────────────────────────────────────────────

interface VolumeLine {
  readonly id: string;
  readonly name: string | null;
  readonly state: FoundVolume['state'];
  readonly sizeBytes: number;
  readonly extents: number;
  /** Extents that an in-sync disk here holds whole. */
  readonly inSync: number;
  /** Extents of which only copies are here that may lack later writes. */
  readonly behind: number;
  readonly dirty: number;
}

function list(cli: Cli, args: RescueArgs): Promise<number> {
  return withSet(cli, args, async (set) => {
    const volumes = set.volumes.map((volume) => lineOf(set, volume));
    const disks = set.disks.map(({ id, opened }) => ({
      id: formatDisk(id),
      path: opened.folder.path,
      state: opened.store === null ? 'unreadable' : opened.isOutdated ? 'outdated' : 'ok',
      mapVersion: opened.known?.map.version ?? null,
    }));
    const view = {
      clusterId: set.clusterId,
      map: mapView(set),
      disks,
      missingDisks: missingDisks(set),
      volumes,
      problems: set.problems,
    };
    cli.show(view, () => renderList(cli, set, view));
    return EXIT_OK;
  });
}

function lineOf(set: RescueSet, volume: FoundVolume): VolumeLine {
  const extents = [...volume.extents.values()];
  const inSync = extents.filter((copies) => copies.some((copy) => set.standingOf(copy) === 0));
  return {
    id: formatVolume(volume.id),
    name: volume.name,
    state: volume.state,
    sizeBytes: volume.sizeBytes,
    extents: extents.length,
    inSync: inSync.length,
    behind: extents.length - inSync.length,
    dirty: extents.filter((copies) => copies.some(({ entry }) => entry.dirty)).length,
  };
}

function mapView(set: RescueSet): object | null {
  if (set.known === null) return null;
  const { map, writtenAtMs } = set.known;
  const { version, term } = map;
  return { version, term, writtenAt: new Date(writtenAtMs).toISOString() };
}

/** Disks that the map names and that were not given. */
function missingDisks(set: RescueSet): readonly string[] {
  const here = new Set(set.disks.map(({ id }) => id));
  return (set.known?.map.disks ?? [])
    .filter(({ id }) => !here.has(id))
    .map(({ id, node }) => `${formatDisk(id)} (${formatNode(node)})`);
}

function renderList(
  cli: Cli,
  set: RescueSet,
  view: {
    readonly disks: readonly {
      readonly id: string;
      readonly path: string;
      readonly state: string;
      readonly mapVersion: number | null;
    }[];
    readonly missingDisks: readonly string[];
    readonly volumes: readonly VolumeLine[];
  },
): string {
  const { colors } = cli.terminal;
  const disks = renderTable(
    [
      { title: 'disk', read: ({ id }) => id },
      { title: 'state', read: ({ state }) => state },
      { title: 'map', isNumber: true, read: ({ mapVersion }) => String(mapVersion ?? '–') },
      { title: 'directory', read: ({ path }) => path },
    ],
    view.disks,
    colors,
  );
  const volumes = renderTable(
    [
      { title: 'volume', read: ({ id }) => id },
      { title: 'name', read: ({ name }) => name ?? '–' },
      { title: 'state', read: ({ state }) => state },
      { title: 'size', isNumber: true, read: ({ sizeBytes }) => formatBytes(sizeBytes) },
      {
        title: 'stored',
        isNumber: true,
        read: ({ extents }) => `up to ${formatBytes(extents * EXTENT_BYTES)}`,
      },
      { title: 'in sync', isNumber: true, read: ({ inSync }) => String(inSync) },
      { title: 'behind', isNumber: true, read: ({ behind }) => String(behind) },
      { title: 'dirty', isNumber: true, read: ({ dirty }) => String(dirty) },
    ],
    view.volumes,
    colors,
  );
  return [
    `Cluster ${set.clusterId}, ${describeMap(set)}`,
    ...(view.missingDisks.length === 0
      ? []
      : [`${colors.yellow('Not given:')} ${view.missingDisks.join(', ')}`]),
    '',
    disks,
    '',
    view.volumes.length === 0 ? 'No volumes.' : volumes,
  ].join('\n');
}

function describeMap(set: RescueSet): string {
  if (set.known === null) return 'no map on any of these disks: volumes by number only';
  const { map, writtenAtMs } = set.known;
  return `map ${map.version} of ${new Date(writtenAtMs).toISOString()}`;
}

// ── Export ───────────────────────────────────────────────────────────────────────────────────────

/** Between two words on how far it has come. */
const PROGRESS_MS = 1_000;

function exportImage(cli: Cli, args: ExportArgs): Promise<number> {
  return withSet(cli, args, async (set) => {
    const { findVolume } = await import('../recovery/rescue-set.ts');
    const { exportVolume } = await import('../recovery/rescue-export.ts');
    const volume = findVolume(set, args.volume);
    let saidAtMs = cli.now;
    const result = await exportVolume(set, volume, {
      output: args.output,
      isOverwriting: args.force,
      onProgress: (doneBytes, totalBytes) => {
        if (cli.now < saidAtMs + PROGRESS_MS) return;
        saidAtMs = cli.now;
        const percent = Math.floor((100 * doneBytes) / totalBytes);
        cli.explain(`${percent} % (${formatBytes(doneBytes)} of ${formatBytes(totalBytes)})`);
      },
    });
    const view = exportView(set, volume, args, result);
    if (args.report !== undefined) writeReport(args.report, view);
    const { ranges: _, ...summary } = view;
    cli.show(args.report === undefined ? view : summary, () =>
      renderExport(cli, set, args, result),
    );
    return exitCodeOf(set, volume, result);
  });
}

function exportView(set: RescueSet, volume: FoundVolume, args: ExportArgs, result: ExportResult) {
  const { report, absentDisks, writtenBytes } = result;
  return {
    volume: formatVolume(volume.id),
    name: volume.name,
    state: volume.state,
    sizeBytes: volume.sizeBytes,
    output: args.output,
    writtenBytes,
    map: mapView(set),
    bytes: report.bytes,
    absentDisks: absentDisks.map(formatDisk),
    problems: set.problems,
    isCut: report.isCut,
    ranges: report.ranges,
  };
}

function writeReport(path: string, view: object): void {
  try {
    writeFileSync(path, `${JSON.stringify(view, null, 1)}\n`);
  } catch (error) {
    const what = `Writing the report "${path}" failed: ${describeError(error)}; the image is written`;
    throw new StorageError('disk-failed', what, { path }, error);
  }
}

function exitCodeOf(set: RescueSet, volume: FoundVolume, result: ExportResult): number {
  const { lost, older, conflicting } = result.report.bytes;
  if (lost > 0) return EXIT_LOST;
  const isUnproven =
    set.known === null || volume.state !== 'known' || result.absentDisks.length > 0;
  return older + conflicting > 0 || isUnproven ? EXIT_DOUBTFUL : EXIT_OK;
}

const MEANINGS: Readonly<Record<Verdict, string>> = {
  good: 'from an in-sync disk, checksums right, no other in-sync disk here says otherwise',
  older: 'from a copy that may lack later writes',
  conflicting:
    'in-sync copies differ; the newest by epoch was taken (writes at the very end do that)',
  lost: 'no copy can be read: zeros in the image',
};
const SHOWN_RANGES = 20;

function renderExport(cli: Cli, set: RescueSet, args: ExportArgs, result: ExportResult): string {
  const { colors } = cli.terminal;
  const { report, absentDisks, writtenBytes } = result;
  const verdicts = Object.entries(report.bytes) as [Verdict, number][];
  const rows = verdicts.filter(([verdict, bytes]) => bytes > 0 || verdict === 'good');
  const table = renderTable(
    [
      { title: 'verdict', read: ([verdict]) => verdict },
      { title: 'bytes', isNumber: true, read: ([, bytes]) => formatBytes(bytes) },
      { title: 'meaning', read: ([verdict]) => MEANINGS[verdict] },
    ],
    rows,
    colors,
  );
  const bad = report.ranges.filter(({ verdict }) => verdict !== 'good');
  const shown = bad
    .slice(0, SHOWN_RANGES)
    .map(
      ({ offset, length, verdict, detail }) =>
        `  ${offset} +${length}: ${verdict === 'lost' ? colors.red(verdict) : verdict}, ${detail}`,
    );
  if (bad.length > shown.length) {
    shown.push(`  and ${bad.length - shown.length} more ranges: --report FILE has them all`);
  }
  const absent = absentDisks.map(formatDisk).join(', ');
  return [
    `Written: ${args.output}, ${formatBytes(writtenBytes)} of data; ${describeMap(set)}`,
    '',
    table,
    ...(shown.length === 0 ? [] : ['', ...shown]),
    ...(absent === ''
      ? []
      : [
          '',
          `${colors.yellow('Not confirmed by')} ${absent}: in sync when the map was written, and not read here. If they served longer than the disks given, their later writes are missing.`,
        ]),
  ].join('\n');
}
