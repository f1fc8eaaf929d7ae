/** `cistern node explain AGENT`: what Mesos offers there, what was taken, and why the rest was not. */
import { formatBytes } from '../shared/base/units.ts';
import type { AgentDiskView, AgentView } from '../shared/model/agent-view.ts';
import type { Cli } from './cli.ts';
import { formatAge } from './figures.ts';
import { renderFacts, renderTable } from './table.ts';
import type { Colors } from './terminal.ts';

export interface AgentArgs {
  readonly agent: string;
}

export async function explainAgent(cli: Cli, args: AgentArgs): Promise<undefined> {
  const agent = await cli.api.get<AgentView>(`/agents/${encodeURIComponent(args.agent)}`);
  cli.show(agent, () => renderAgent(agent, cli.now, cli.terminal.colors));
}

export function renderAgent(agent: AgentView, nowMs: number, colors: Colors): string {
  const attributes = Object.entries(agent.attributes).map(([name, value]) => `${name}=${value}`);
  const offered = agent.lastOfferAt === null ? 'never' : formatAge(agent.lastOfferAt, nowMs);
  const facts = renderFacts(
    [
      ['Agent', `${colors.bold(agent.hostname)} (${agent.id})`],
      ['Node', agent.node ?? 'none of ours runs there'],
      ['Zone', [agent.zone, agent.region].filter(Boolean).join(' in ') || '–'],
      ['Attributes', attributes.join(', ') || '–'],
      ['Last offer', agent.answer === null ? offered : `${offered}, ${agent.answer}`],
      ['In short', agent.summary],
      ...agent.earlier.map((one): [string, string] => [
        'Before',
        `${formatAge(one.at, nowMs)}, ${one.answer}: ${one.why}`,
      ]),
    ],
    colors,
  );
  if (agent.disks.length === 0) return facts;
  const table = renderTable(
    [
      { title: 'disk', read: placeOf },
      { title: 'size', isNumber: true, read: (disk) => formatBytes(disk.sizeBytes) },
      { title: 'whose', read: (disk) => disk.disk ?? disk.owner },
      { title: 'why not taken', read: (disk) => whyNot(disk) },
    ],
    agent.disks,
    colors,
  );
  return `${facts}\n\n${table}`;
}

function placeOf({ kind, root }: AgentDiskView): string {
  return [kind ?? 'other', root].filter(Boolean).join(' ');
}

function whyNot({ reasons, owner, disk }: AgentDiskView): string {
  if (reasons.length > 0) return reasons.map(({ message }) => message).join('; ');
  return disk !== null || owner === 'ours' ? '' : 'not looked at';
}
