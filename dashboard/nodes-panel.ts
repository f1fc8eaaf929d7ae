/**
 * Nodes as tiles, their disks as columns that fill up; those in trouble first. A tile is a button that
 * opens the list of its disks. Works for one disk and for thousands: tiles shrink, then are cut off.
 */
import { useState } from 'preact/hooks';
import type { DiskView, NodeView, PoolView } from '../shared/model/api-views.ts';
import {
  DISK_TONES,
  formatBytes,
  formatCount,
  formatRatio,
  NODE_TONES,
  plural,
} from './figures.ts';
import { html, type Markup } from './html.ts';

/** From here on tiles are small, and then without the name of the host. */
const SMALL_FROM = 10;
const DENSE_FROM = 25;
/** More tiles than this nobody reads; a button shows them all. */
const SHOWN_MAX = 120;

interface NodesProps {
  readonly nodes: readonly NodeView[];
  readonly disks: readonly DiskView[];
  readonly pools: readonly PoolView[];
}

export function NodesPanel({ nodes, disks, pools }: NodesProps): Markup {
  const [openId, setOpenId] = useState('');
  const [isAll, setAll] = useState(false);
  const byNode = groupByNode(disks);
  const disksOf = (node: NodeView) => byNode.get(node.id) ?? [];
  const sorted = nodes.toSorted(
    (one, other) => urgency(other, disksOf(other)) - urgency(one, disksOf(one)),
  );
  const shown = isAll ? sorted : sorted.slice(0, SHOWN_MAX);
  const open = nodes.find((node) => node.id === openId);
  return html`<section class="panel panel-nodes" aria-labelledby="nodes-title"
    onKeyDown=${(event: KeyboardEvent) => event.key === 'Escape' && setOpenId('')}>
    <h2 id="nodes-title">Nodes and disks <span class="count">${describeCounts(nodes, disks)}</span></h2>
    ${nodes.length === 0 && html`<p class="muted">No node has joined yet. Nodes join by themselves when Mesos offers their disks.</p>`}
    <div class="tiles ${tileSize(nodes.length)}">
      ${shown.map(
        (
          node,
        ) => html`<${NodeTile} key=${node.id} node=${node} disks=${disksOf(node)} pools=${pools}
          isOpen=${node.id === openId} onToggle=${() => setOpenId(node.id === openId ? '' : node.id)} />`,
      )}
    </div>
    ${shown.length < nodes.length && html`<button type="button" class="more" onClick=${() => setAll(true)}>Show all ${nodes.length} nodes</button>`}
    ${open !== undefined && html`<${NodeDetail} node=${open} disks=${disksOf(open)} onClose=${() => setOpenId('')} />`}
  </section>`;
}

function tileSize(count: number): string {
  if (count >= DENSE_FROM) return 'is-small is-dense';
  return count >= SMALL_FROM ? 'is-small' : '';
}

function groupByNode(disks: readonly DiskView[]): Map<string, DiskView[]> {
  const groups = new Map<string, DiskView[]>();
  for (const disk of disks) {
    const group = groups.get(disk.node);
    if (group === undefined) groups.set(disk.node, [disk]);
    else group.push(disk);
  }
  return groups;
}

function urgency(node: NodeView, disks: readonly DiskView[]): number {
  const isBad =
    NODE_TONES[node.state] === 'bad' || disks.some((disk) => DISK_TONES[disk.state] === 'bad');
  if (isBad) return 2;
  return node.state !== 'up' || disks.some((disk) => disk.isDraining) ? 1 : 0;
}

function describeCounts(nodes: readonly NodeView[], disks: readonly DiskView[]): string {
  const up = nodes.filter((node) => node.state === 'up').length;
  const serving = disks.filter((disk) => disk.state === 'serving').length;
  return `${up} of ${plural(nodes.length, 'node')} up, ${serving} of ${plural(disks.length, 'disk')} serving`;
}

interface TileProps {
  readonly node: NodeView;
  readonly disks: readonly DiskView[];
  readonly pools: readonly PoolView[];
  readonly isOpen: boolean;
  readonly onToggle: () => void;
}

function NodeTile({ node, disks, pools, isOpen, onToggle }: TileProps): Markup {
  const failed = disks.filter((disk) => DISK_TONES[disk.state] === 'bad').length;
  const trouble = failed === 0 ? '' : `, ${plural(failed, 'disk')} not serving`;
  const words = `Node ${node.id} on ${node.hostname}: ${node.state}, ${plural(disks.length, 'disk')}, ${formatRatio(node.capacity.usedRatio)} full${trouble}`;
  return html`<button type="button" class="tile ${isOpen ? 'is-open' : ''} edge-${NODE_TONES[node.state]}"
    aria-expanded=${isOpen} aria-label=${words} title=${words} data-node=${node.id} onClick=${onToggle}>
    <span class="tile-head">
      <strong>${node.id}</strong>
      <span class="tile-host">${node.hostname}</span>
      ${node.state !== 'up' && html`<span class="tag tone-${NODE_TONES[node.state]}">${node.state}</span>`}
    </span>
    <span class="disks" aria-hidden="true">
      ${disks.map((disk) => html`<${DiskColumn} key=${disk.id} disk=${disk} pool=${pools.find((pool) => pool.name === disk.pool)} />`)}
    </span>
    <span class="tile-foot">
      <span>${formatRatio(node.capacity.usedRatio)}<span class="tile-size"> of ${formatBytes(node.capacity.rawBytes)}</span></span>
      <span>${node.attachedVolumes.length > 0 ? plural(node.attachedVolumes.length, 'volume') : ''}</span>
    </span>
  </button>`;
}

function DiskColumn({ disk, pool }: { disk: DiskView; pool: PoolView | undefined }): Markup {
  const tone = DISK_TONES[disk.state];
  const isHigh = pool !== undefined && disk.usedRatio >= pool.expandAtRatio;
  const isFull = pool !== undefined && disk.usedRatio >= pool.fullAtRatio;
  const look =
    tone === 'bad' ? 'bad' : isFull ? 'bad' : isHigh ? 'warn' : tone === 'info' ? 'info' : 'used';
  const drain = disk.isDraining ? ', draining' : '';
  const title = `${disk.id}: ${disk.state}${drain}, ${formatRatio(disk.usedRatio)} of ${formatBytes(disk.sizeBytes)}${disk.error === '' ? '' : `, ${disk.error}`}`;
  return html`<span class="disk disk-${tone} ${disk.isDraining ? 'is-draining' : ''}" title=${title}>
    <span class="disk-fill look-${look}" style=${{ height: `${Math.min(100, disk.usedRatio * 100)}%` }}></span>
    ${tone === 'bad' && html`<span class="disk-cross">✕</span>`}
  </span>`;
}

interface DetailProps {
  readonly node: NodeView;
  readonly disks: readonly DiskView[];
  readonly onClose: () => void;
}

function NodeDetail({ node, disks, onClose }: DetailProps): Markup {
  const facts = [
    node.state + (node.stateReason === '' ? '' : `: ${node.stateReason}`),
    [node.zone, node.region].filter((part) => part !== null).join(', '),
    node.dataAddress ?? '',
    node.memoryBytes === null ? '' : `executor uses ${formatBytes(node.memoryBytes)} of memory`,
    `agent ${node.agentId}`,
  ].filter((fact) => fact !== '');
  return html`<div class="detail" role="region" aria-label=${`Disks of node ${node.id}`}>
    <p class="detail-head"><strong>${node.id} · ${node.hostname}</strong><span class="muted small">${facts.join(' · ')}</span>
      <span class="grow"></span><button type="button" class="more" onClick=${onClose}>Close</button></p>
    <div class="scroll">
      <table>
        <thead><tr><th scope="col">Disk</th><th scope="col">State</th><th scope="col">Pool</th><th scope="col" class="num">Fill</th>
          <th scope="col" class="num">Used</th><th scope="col" class="num">Size</th><th scope="col" class="num">PGs</th>
          <th scope="col" class="num">Checksum errors</th><th scope="col">Where</th></tr></thead>
        <tbody>${disks.map(
          (disk) => html`<tr key=${disk.id}>
            <th scope="row">${disk.id}</th>
            <td><span class="tag tone-${DISK_TONES[disk.state]}">${disk.state}</span>${disk.isDraining ? ' draining' : ''}
              ${disk.leavingReason !== '' && html`<div class="small muted">leaves: ${disk.leavingReason}</div>`}
              ${disk.foreign !== '' && html`<div class="small text-bad">${disk.foreign}</div>`}
              ${disk.error !== '' && html`<div class="small text-bad">${disk.error}</div>`}</td>
            <td>${disk.pool}</td><td class="num">${formatRatio(disk.usedRatio)}</td><td class="num">${formatBytes(disk.usedBytes)}</td>
            <td class="num">${formatBytes(disk.sizeBytes)}</td><td class="num">${formatCount(disk.pgCount)}</td>
            <td class="num">${formatCount(disk.checksumErrorCount)}</td><td>${disk.tier} ${disk.sourceRoot ?? disk.path ?? ''}</td>
          </tr>`,
        )}</tbody>
      </table>
    </div>
  </div>`;
}
