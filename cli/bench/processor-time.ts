import { readFileSync } from 'node:fs';

/** Ticks a second in /proc; the same on every Linux that runs Node. */
const ticksPerSecond = 100;

/** CPU seconds (user and system) that the processes have used; undefined where /proc cannot tell of one of them. */
export function processorSeconds(pids: readonly number[]): number | undefined {
  let ticks = 0;
  for (const pid of pids) {
    let stat: string;
    try {
      stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    } catch {
      return undefined;
    }
    ticks += ticksIn(stat);
  }
  return ticks / ticksPerSecond;
}

/** The same of one process or thread, by its file `stat`. */
export function secondsIn(stat: string): number {
  return ticksIn(stat) / ticksPerSecond;
}

function ticksIn(stat: string): number {
  // The second field is the name in parentheses, and may hold anything; utime and stime are the 14th and 15th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}
