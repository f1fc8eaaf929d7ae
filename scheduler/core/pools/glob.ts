/**
 * Patterns as operators write them: `*` any run of characters, `?` one. In paths neither crosses a slash;
 * `**` does. Matched by hand, in time that grows with pattern times text: patterns come from operators.
 */

/** A whole word: `r1*`, `host-??`. */
export function matchesWord(pattern: string, text: string): boolean {
  return matches(pattern, text, false);
}

/** A whole path: `/mnt/fast-*`, `/data/**`. */
export function matchesPath(pattern: string, path: string): boolean {
  return matches(pattern, path, true);
}

/** One row per position in the pattern, one column per position in the text. */
function matches(pattern: string, text: string, isPath: boolean): boolean {
  const tokens = pattern.match(/\*+|[^*]/g) ?? [];
  let reachable = Array.from({ length: text.length + 1 }, (_, index) => index === 0);
  for (const token of tokens) {
    const next = reachable.map(() => false);
    if (token.startsWith('*')) {
      const mayCross = !isPath || token.length > 1;
      for (let at = 0; at <= text.length; at += 1) {
        const isLonger = at > 0 && next[at - 1] === true && (mayCross || text[at - 1] !== '/');
        next[at] = reachable[at] === true || isLonger;
      }
    } else {
      for (let at = 0; at < text.length; at += 1) {
        const isOne = token === '?' ? !isPath || text[at] !== '/' : text[at] === token;
        if (reachable[at] === true && isOne) next[at + 1] = true;
      }
    }
    reachable = next;
  }
  return reachable[text.length] === true;
}
