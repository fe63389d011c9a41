/** What happened, in order: hashed always, kept as text only where somebody wants to read it. */
import { createHash } from 'node:crypto';

export interface History {
  /** One event: what kind, at which node or client, and what is to be known of it. */
  note(kind: string, who: string, what?: string): void;
  /** Of everything noted so far. */
  hash(): string;
  /** The last lines; all of them with a trace. */
  readonly lines: readonly string[];
}

const linesKept = 40;

export function createHistory(now: () => number, trace?: (line: string) => void): History {
  const sha = createHash('sha256');
  const lines: string[] = [];
  return {
    lines,
    note(kind, who, what = '') {
      const line = `${now().toFixed(3)} ${who} ${kind}${what === '' ? '' : ` ${what}`}`;
      sha.update(line);
      sha.update('\n');
      trace?.(line);
      lines.push(line);
      if (lines.length > 2 * linesKept) lines.splice(0, linesKept);
    },
    hash: () => sha.copy().digest('hex').slice(0, 16),
  };
}
