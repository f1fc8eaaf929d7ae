/** Volumes, the busiest first, with their last minutes. Found by name when there are many. */
import { useState } from 'preact/hooks';
import type { VolumeView } from '../shared/model/api-views.ts';
import { formatBytes, formatCount, formatRatio, HEALTH_TONES, type Tone } from './figures.ts';
import type { History } from './history.ts';
import { html, type Markup } from './html.ts';
import { type Line, Sparkline } from './sparkline.ts';

const SHOWN_MAX = 10;

const OPS: readonly Line[] = [
  { name: 'read', read: (io) => io.readOpsPerSecond },
  { name: 'write', read: (io) => io.writeOpsPerSecond },
];
const BYTES: readonly Line[] = [
  { name: 'read', read: (io) => io.readBytesPerSecond },
  { name: 'write', read: (io) => io.writeBytesPerSecond },
];

const STATE_TONES: Readonly<Record<VolumeView['state'], Tone>> = {
  ready: 'idle',
  attached: 'good',
  attaching: 'info',
  detaching: 'info',
  deleting: 'info',
};

interface VolumesProps {
  readonly volumes: readonly VolumeView[];
  readonly history: History;
}

export function VolumesPanel({ volumes, history }: VolumesProps): Markup {
  const [search, setSearch] = useState('');
  const [isAll, setAll] = useState(false);
  const found = volumes
    .filter((volume) => volume.name.includes(search) || volume.id === search)
    .toSorted((one, other) => weight(other) - weight(one) || one.name.localeCompare(other.name));
  const shown = isAll ? found : found.slice(0, SHOWN_MAX);
  return html`<section class="panel panel-volumes" aria-labelledby="volumes-title">
    <h2 id="volumes-title">Volumes <span class="count">${volumes.length}</span>
      ${
        volumes.length > SHOWN_MAX &&
        html`<input type="search" class="search" placeholder="Find by name" aria-label="Find a volume by name"
          value=${search} onInput=${(event: InputEvent) => setSearch((event.target as HTMLInputElement).value)} />`
      }
    </h2>
    ${
      volumes.length === 0
        ? html`<p class="muted">No volumes yet. Create one: <code>cistern volume create db --size 10G</code></p>`
        : html`<${VolumeTable} volumes=${shown} history=${history} />`
    }
    ${shown.length < found.length && html`<button type="button" class="more" onClick=${() => setAll(true)}>Show all ${found.length} volumes</button>`}
  </section>`;
}

/** What is not well comes first, then what is busy. */
function weight({ health, attachment }: VolumeView): number {
  const urgent = { ok: 0, degraded: 1e12, critical: 2e12 }[health];
  const io = attachment?.io;
  return urgent + (io === undefined ? 0 : 1 + io.readOpsPerSecond + io.writeOpsPerSecond);
}

function VolumeTable({ volumes, history }: VolumesProps): Markup {
  return html`<div class="scroll">
    <table class="volumes">
      <thead><tr><th scope="col">Name</th><th scope="col">State</th><th scope="col" class="num">Stored / size</th>
        <th scope="col" colspan="2">Operations per second</th><th scope="col" colspan="2">Throughput</th></tr></thead>
      <tbody>${volumes.map((volume) => html`<${VolumeRow} key=${volume.id} volume=${volume} history=${history} />`)}</tbody>
    </table>
  </div>`;
}

function VolumeRow({ volume, history }: { volume: VolumeView; history: History }): Markup {
  const { attachment } = volume;
  const series = history.of(volume.id);
  const rate = (bytes: number) => `${formatBytes(bytes)}/s`;
  const fill = volume.sizeBytes === 0 ? 0 : volume.usedBytes / volume.sizeBytes;
  return html`<tr data-volume=${volume.name}>
    <th scope="row">${volume.name}<div class="small muted">${volume.id} · ${volume.replicas} replicas · ${volume.pool}</div></th>
    <td><span class="tag tone-${STATE_TONES[volume.state]}">${volume.state}</span>
      ${volume.health !== 'ok' && html` <span class="tag tone-${HEALTH_TONES[volume.health]}">${volume.health}</span>`}
      <div class="small muted">${describePlace(volume)}</div></td>
    <td class="num">${formatBytes(volume.usedBytes)} <span class="muted">/ ${formatBytes(volume.sizeBytes)}</span>
      <div class="mini" role="img" aria-label=${`${formatRatio(fill)} stored`}><span class="mini-fill" style=${{ width: `${Math.min(100, fill * 100)}%` }}></span></div></td>
    ${
      attachment === null
        ? html`<td colspan="4" class="muted small">no client</td>`
        : html`<td class="num io-pair">${formatCount(attachment.io.readOpsPerSecond)}<br />${formatCount(attachment.io.writeOpsPerSecond)}</td>
          <td class="spark-cell"><${Sparkline} series=${series} lines=${OPS} label=${`Operations of ${volume.name}`} format=${formatCount} /></td>
          <td class="num io-pair">${rate(attachment.io.readBytesPerSecond)}<br />${rate(attachment.io.writeBytesPerSecond)}</td>
          <td class="spark-cell"><${Sparkline} series=${series} lines=${BYTES} label=${`Throughput of ${volume.name}`} format=${rate} /></td>`
    }
  </tr>`;
}

function describePlace(volume: VolumeView): string {
  const { attachment, reasons } = volume;
  const reason = reasons[0]?.message ?? '';
  if (attachment === null) return reason;
  const why = attachment.state === 'serving' ? '' : `, ${attachment.state}: ${attachment.reason}`;
  return [`on ${attachment.node} ${attachment.hostname}${why}`, reason].filter(Boolean).join(' · ');
}
