/**
 * The layers of the tree (DESIGN 11), lowest first, as data. A file belongs to the first rule whose
 * pattern matches; it may import its own layer and the ones named. The architecture page draws them.
 */

export interface LayerRule {
  readonly layer: string;
  readonly pattern: RegExp;
  readonly mayImport: readonly string[];
  /** `false`: no `node:*` module, no clock, no randomness of its own (the simulator runs it). */
  readonly isAdapter: boolean;
}

const LOGIC_BASE = ['base', 'model', 'wire', 'mesos-types', 'ports'] as const;

export const LAYERS: readonly LayerRule[] = [
  { layer: 'base', pattern: /^shared\/base\//, mayImport: [], isAdapter: false },
  { layer: 'model', pattern: /^shared\/model\//, mayImport: ['base'], isAdapter: false },
  { layer: 'wire', pattern: /^shared\/wire\//, mayImport: ['base', 'model'], isAdapter: false },
  {
    layer: 'mesos-types',
    pattern: /^shared\/mesos\//,
    mayImport: ['base'],
    isAdapter: true,
  },
  {
    layer: 'ports',
    pattern: /^shared\/ports\.ts$/,
    mayImport: ['base', 'model', 'wire'],
    isAdapter: false,
  },
  {
    layer: 'shared-adapters',
    pattern: /^shared\/node\//,
    mayImport: LOGIC_BASE,
    isAdapter: true,
  },
  { layer: 'core', pattern: /^scheduler\/core\//, mayImport: LOGIC_BASE, isAdapter: false },
  { layer: 'disk', pattern: /^executor\/disk\//, mayImport: LOGIC_BASE, isAdapter: false },
  {
    layer: 'executor-contract',
    pattern: /^executor\/data-plane\.ts$/,
    mayImport: LOGIC_BASE,
    isAdapter: false,
  },
  {
    layer: 'executor-shared-logic',
    pattern: /^executor\/(peer\/|map-index\.ts|lease\.ts|notice-board\.ts)/,
    mayImport: [...LOGIC_BASE, 'executor-contract'],
    isAdapter: false,
  },
  {
    layer: 'nbd-listener',
    pattern: /^executor\/(gateway\/nbd\/nbd-listener[a-z-]*|volume-exports)\.ts$/,
    mayImport: [...LOGIC_BASE, 'gateway', 'shared-adapters'],
    isAdapter: true,
  },
  {
    layer: 'gateway',
    pattern: /^executor\/gateway\//,
    mayImport: [...LOGIC_BASE, 'executor-contract', 'executor-shared-logic'],
    isAdapter: false,
  },
  {
    layer: 'replica',
    pattern: /^executor\/replica\//,
    mayImport: [...LOGIC_BASE, 'disk', 'executor-contract', 'executor-shared-logic'],
    isAdapter: false,
  },
  {
    layer: 'scheduler-shell',
    pattern: /^scheduler\/(scheduler|leadership\/guard)\.ts$/,
    mayImport: [...LOGIC_BASE, 'core'],
    isAdapter: false,
  },
  {
    layer: 'executor-shell',
    pattern: /^executor\/(executor|node-agent|node-[a-z-]+)\.ts$/,
    mayImport: [
      ...LOGIC_BASE,
      'gateway',
      'replica',
      'disk',
      'executor-contract',
      'executor-shared-logic',
    ],
    isAdapter: false,
  },
  {
    layer: 'scheduler-main',
    pattern: /^scheduler\/(main|manager-view|leadership\/(leading|standby))\.ts$/,
    mayImport: ['*'],
    isAdapter: true,
  },
  {
    layer: 'executor-main',
    pattern: /^executor\/(main|data-process-main)\.ts$/,
    mayImport: ['*'],
    isAdapter: true,
  },
  {
    layer: 'scheduler-adapters',
    pattern: /^scheduler\//,
    mayImport: [...LOGIC_BASE, 'core', 'shared-adapters'],
    isAdapter: true,
  },
  {
    layer: 'executor-adapters',
    pattern: /^executor\//,
    mayImport: [
      ...LOGIC_BASE,
      'shared-adapters',
      'executor-contract',
      'executor-shared-logic',
      'executor-shell',
    ],
    isAdapter: true,
  },
  {
    layer: 'recovery-logic',
    pattern: /^recovery\/(decision|pg-judgement|witness|block-choice|range-report)\.ts$/,
    mayImport: [...LOGIC_BASE, 'core', 'disk'],
    isAdapter: false,
  },
  {
    layer: 'recovery',
    pattern: /^recovery\//,
    mayImport: [
      ...LOGIC_BASE,
      'core',
      'disk',
      'shared-adapters',
      'scheduler-adapters',
      'recovery-logic',
    ],
    isAdapter: true,
  },
  { layer: 'dashboard', pattern: /^dashboard\//, mayImport: ['base', 'model'], isAdapter: true },
  {
    layer: 'cli',
    pattern: /^cli\//,
    mayImport: ['base', 'model', 'dev', 'recovery', 'recovery-logic', 'shared-adapters'],
    isAdapter: true,
  },
  {
    layer: 'dev',
    pattern: /^dev\//,
    mayImport: ['base', 'model', 'mesos-types', 'ports', 'shared-adapters'],
    isAdapter: true,
  },
  { layer: 'bench', pattern: /^bench\//, mayImport: ['*'], isAdapter: true },
  { layer: 'test', pattern: /^test\//, mayImport: ['*'], isAdapter: true },
];

/** What a file that is no adapter must not use, and what it uses instead. */
export const FORBIDDEN_IN_LOGIC: readonly { readonly pattern: RegExp; readonly instead: string }[] =
  [
    { pattern: /\bDate\.now\b|\bnew Date\(\)/, instead: 'the Clock port' },
    { pattern: /\bperformance\./, instead: 'the Clock port' },
    { pattern: /\bset(?:Timeout|Interval|Immediate)\(/, instead: 'Clock.after' },
    { pattern: /\bMath\.random\b/, instead: 'the Random port' },
    { pattern: /\bprocess\./, instead: 'a value passed in by main.ts' },
    { pattern: /\bconsole\./, instead: 'the Log port' },
    { pattern: /\bfetch\(/, instead: 'a port' },
    { pattern: /\bAbortSignal\.timeout\b/, instead: 'Clock.after' },
  ];
