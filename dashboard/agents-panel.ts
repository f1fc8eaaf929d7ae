/**
 * What Mesos' agents offer, and why it was or was not taken. Closed until somebody wants to know: the page's
 * own stream does not carry it.
 */
import { useEffect, useState } from 'preact/hooks';
import type { AgentDiskView, AgentView } from '../shared/model/agent-view.ts';
import { formatBytes } from './figures.ts';
import { html, type Markup } from './html.ts';

/** Offers come every few seconds at most. */
const REFRESH_MS = 5000;
/** More nobody reads here; the command line finds any of them. */
const SHOWN_MAX = 40;

export function AgentsPanel(): Markup {
  const [isOpen, setOpen] = useState(false);
  return html`<section class="panel panel-agents" aria-labelledby="agents-title">
    <h2 id="agents-title">Agents</h2>
    <details onToggle=${(event: Event) => setOpen((event.target as HTMLDetailsElement).open)}>
      <summary>What Mesos offers, and why it was or was not taken</summary>
      ${isOpen && html`<${AgentList} />`}
    </details>
  </section>`;
}

/** Asks again while it is on the page. */
function AgentList(): Markup {
  const [agents, setAgents] = useState<readonly AgentView[] | null>(null);
  const [problem, setProblem] = useState('');
  useEffect(() => {
    const ask = async (): Promise<void> => {
      try {
        const response = await fetch('/v1/agents');
        if (!response.ok) throw new Error(`HTTP ${response.status}`);
        setAgents(await response.json());
        setProblem('');
      } catch (error) {
        // The next try says it again, or succeeds.
        setProblem(error instanceof Error ? error.message : String(error));
      }
    };
    void ask();
    const timer = setInterval(() => void ask(), REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  if (agents === null) {
    return html`<p class="muted small">${problem === '' ? 'Asking …' : `No answer: ${problem}`}</p>`;
  }
  if (agents.length === 0)
    return html`<p class="muted small">No agent has offered anything yet.</p>`;
  const sorted = agents.toSorted((one, other) => passedOver(other) - passedOver(one));
  const shown = sorted.slice(0, SHOWN_MAX);
  return html`<ul class="agents">
    ${shown.map((agent) => html`<${Agent} key=${agent.id} agent=${agent} />`)}
    ${shown.length < agents.length && html`<li class="muted small">… and ${agents.length - shown.length} more: <code>cistern node explain HOST</code></li>`}
  </ul>`;
}

/** Free disks that were not taken: those agents are what people look for. */
function passedOver(agent: AgentView): number {
  return agent.disks.filter(({ owner, disk }) => owner === 'free' && disk === null).length;
}

function Agent({ agent }: { agent: AgentView }): Markup {
  const free = agent.disks.filter(({ owner, disk }) => owner === 'free' && disk === null);
  return html`<li data-agent=${agent.id}>
    <strong>${agent.hostname}</strong> <span class="muted">${agent.node ?? 'no node'}</span>
    <p class="small">${agent.summary}</p>
    ${free.map((disk) => html`<p class="small muted" key=${`${disk.kind} ${disk.root}`}>${describeDisk(disk)}</p>`)}
  </li>`;
}

function describeDisk({ kind, root, sizeBytes, reasons }: AgentDiskView): string {
  const why = reasons.map(({ message }) => message).join('; ') || 'not looked at';
  return `${kind ?? 'other'} ${root ?? ''}, ${formatBytes(sizeBytes)}: ${why}`;
}
