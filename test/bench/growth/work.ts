/** What several studies do. */
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Problem } from '../../../cli/problem.ts';
import { startMs } from '../clusters/servers.ts';

const pollMs = 10;

/** `run(0)` to `run(count - 1)`, so many at a time. */
export async function inParallel(
  count: number,
  workers: number,
  signal: AbortSignal,
  run: (i: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: workers }, async () => {
      while (next < count) {
        signal.throwIfAborted();
        await run(next++);
      }
    }),
  );
}

export function medianOf(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

/** Ends a process that another one has started, and waits until it has. */
export async function ended(pid: number, how: NodeJS.Signals, signal: AbortSignal): Promise<void> {
  process.kill(pid, how);
  while (isRunning(pid)) await sleep(pollMs, undefined, { signal });
}

/** False for one that has ended and whose parent has not yet looked. */
function isRunning(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
}

/** Waits for a process that was just started. `admin`: HOST:PORT. */
export async function untilReady(admin: string, signal: AbortSignal): Promise<void> {
  for (const began = performance.now(); !(await isReady(admin)); ) {
    if (performance.now() - began > startMs) throw new Problem(`${admin} was not ready after ${startMs / 1000} s`);
    await sleep(pollMs, undefined, { signal });
  }
}

async function isReady(admin: string): Promise<boolean> {
  try {
    return (await fetch(`http://${admin}/readyz`)).ok;
  } catch {
    return false; // not yet
  }
}
