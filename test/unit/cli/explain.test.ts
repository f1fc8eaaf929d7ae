import { expect } from 'chai';
import picocolors from 'picocolors';
import { renderExplanations } from '../../../cli/explain.ts';
import type { ExplanationView } from '../../../shared/model/explanation-view.ts';

const plain = picocolors.createColors(false);
const NOW_MS = Date.parse('2026-11-20T03:12:27Z');

const DOWN: ExplanationView = {
  kind: 'node',
  subject: 'n3',
  state: 'down',
  severity: 'degraded',
  message: 'n3 (host3) is down: silent for 20s',
  since: '2026-11-20T03:12:07Z',
  causes: [
    { subject: 'n3', message: 'The last report of n3 came 20s ago', since: null },
    { subject: 'd3', message: 'The Mesos task of d3 has ended', since: null },
  ],
  next: 'Its replicas are rebuilt in 40s unless it comes back',
  by: '2026-11-20T03:13:07Z',
  noDeadline: '',
  action: 'See whether host3 runs',
  command: 'cistern node show n3',
};

function render(explanations: readonly ExplanationView[], isAll = false): readonly string[] {
  const answer = { at: '', subject: null, explanations, omittedCount: 0 };
  return renderExplanations(answer, isAll, NOW_MS, plain).split('\n');
}

describe('cli: explain', () => {
  it('explain: one thing, a chain that hangs together, then next, by when, and what to do', () => {
    const [title = '', near, root, next, by = '', you, command, ...rest] = render([DOWN]);
    expect(title).to.match(/^▲ n3 \(host3\) is down: silent for 20s {2}\[since .*, 20s ago\]$/);
    expect([near, root, next, you, command, rest]).to.deep.equal([
      '  because The last report of n3 came 20s ago',
      '    because The Mesos task of d3 has ended',
      '  next    Its replicas are rebuilt in 40s unless it comes back',
      '  you     See whether host3 runs',
      '          cistern node show n3',
      [],
    ]);
    expect(by).to.match(/^ {2}by {6}.*, in 40s$/);
  });

  it('explain: no deadline, said why', () => {
    const lines = render([{ ...DOWN, by: null, noDeadline: 'it depends on Mesos', command: null }]);
    expect(lines.at(-2)).to.equal('  by      no deadline: it depends on Mesos');
  });

  it('explain: many things on their way, the first few and their number, all when asked', () => {
    const notices = Array.from({ length: 12 }, (_, index): ExplanationView => {
      return { ...DOWN, severity: 'notice', message: `notice ${index}` };
    });
    const short = render([DOWN, ...notices]);
    expect(short.filter((line) => line.startsWith('• ')).length).to.equal(5);
    expect(short.at(-1)).to.equal(
      '… and 7 more things on the way as intended (cistern explain --all)',
    );
    expect(
      render([DOWN, ...notices], true).filter((line) => line.startsWith('• ')).length,
    ).to.equal(12);
  });

  it('explain: nothing to explain, one quiet line', () => {
    expect(render([])).to.deep.equal(['✔ Everything is green. Nothing to do.']);
  });
});
