/** Why one thing is not green, asked for when somebody wants to know: the chain, what comes next, what to do. */
import { useEffect, useState } from 'preact/hooks';
import type { ExplainView, ExplanationView } from '../shared/model/explanation-view.ts';
import { html, type Markup } from './html.ts';

/** While it is open; the page itself is fresh within three seconds. */
const REFRESH_MS = 3000;

/** Asks again while it is on the page. */
export function Explanation({ subject }: { subject: string }): Markup {
  const [answer, setAnswer] = useState<ExplainView | null>(null);
  const [problem, setProblem] = useState('');
  useEffect(() => {
    const ask = async (): Promise<void> => {
      try {
        const response = await fetch(`/v1/explain/${encodeURIComponent(subject)}`);
        if (!response.ok) throw new Error(`HTTP ${response.status}`);
        setAnswer(await response.json());
        setProblem('');
      } catch (error) {
        // The next try says it again, or succeeds.
        setProblem(error instanceof Error ? error.message : String(error));
      }
    };
    void ask();
    const timer = setInterval(() => void ask(), REFRESH_MS);
    return () => clearInterval(timer);
  }, [subject]);
  if (answer === null) {
    return html`<p class="muted small">${problem === '' ? 'Asking …' : `No answer: ${problem}`}</p>`;
  }
  if (answer.explanations.length === 0) {
    return html`<p class="muted small">It is green by now.</p>`;
  }
  return html`<div class="explanation">${answer.explanations.map(
    (one) => html`<${One} key=${`${one.state} ${one.message}`} one=${one} />`,
  )}</div>`;
}

function One({ one }: { one: ExplanationView }): Markup {
  return html`<div>
    <p class="small">${one.message}</p>
    <ol class="causes">
      ${one.causes.map(
        (cause) =>
          html`<li key=${`${cause.subject} ${cause.message}`}>because ${cause.message}</li>`,
      )}
    </ol>
    <p class="small"><strong>By</strong> ${one.by === null ? `no deadline: ${one.noDeadline}` : new Date(one.by).toLocaleTimeString()}</p>
    <p class="small"><strong>You</strong> ${one.action} ${one.command !== null && html`<code>${one.command}</code>`}</p>
  </div>`;
}
