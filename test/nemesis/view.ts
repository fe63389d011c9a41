/** Progress, on stderr: the faults as lines, and below them on a terminal one line that changes. */
import type { Status, View } from './run.ts';

/** Without a terminal a status line is one of many: not too often. */
const plainEveryMs = 10_000;

export function createView(stream: NodeJS.WriteStream): View {
  let line = '';
  let plainAt = 0;
  return {
    note(what) {
      if (stream.isTTY) stream.write(`\r\x1b[K${what}\n${line}`);
      else stream.write(`${what}\n`);
    },
    status(status) {
      const text = textOf(status);
      if (stream.isTTY) {
        line = text.slice(0, (stream.columns ?? 80) - 1);
        stream.write(`\r\x1b[K${line}`);
      } else if (status.ms >= plainAt) {
        plainAt = status.ms + plainEveryMs;
        stream.write(`${text}\n`);
      }
    },
  };
}

function textOf({ phase, ms, counts, faults, keys, violations }: Status): string {
  const { lost, resurrected, unexplained, other } = violations.counts;
  const written = `${counts.acknowledged} acknowledged, ${counts.unknown} unknown, ${counts.notApplied} not applied`;
  const found = `lost ${lost}, resurrected ${resurrected}, unexplained ${unexplained}, other ${other}`;
  return `${(ms / 1_000).toFixed(0).padStart(5)} s  ${phase}: ${written}; ${keys} keys; ${faults} faults; ${found}`;
}
