/** What each thread of a process uses, and on which processors it may run. Linux only. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { secondsIn } from '../../../cli/bench/processor-time.ts';
import { Problem } from '../../../cli/problem.ts';

export interface ThreadUse {
  /** Of the thread that runs JavaScript's event loop, in CPU seconds. */
  readonly eventLoop: number;
  readonly all: number;
}

/** Since the process began. */
export function threadUse(pid: number): ThreadUse {
  let eventLoop = 0;
  let all = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    let stat: string;
    try {
      stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
    } catch {
      continue; // ended meanwhile
    }
    const seconds = secondsIn(stat);
    all += seconds;
    if (Number(thread) === pid) eventLoop += seconds;
  }
  return { eventLoop, all };
}

/** All threads of the processes, and those that they start later. `processors` as `taskset` has them: "0", "0-1". */
export function pin(pids: readonly number[], processors: string): void {
  for (const pid of pids) {
    const { status, error } = spawnSync('taskset', ['-acp', processors, String(pid)], { stdio: 'ignore' });
    if (error !== undefined) throw new Problem('taskset cannot be run', 'on Debian: apt-get install util-linux');
    if (status !== 0) throw new Problem(`process ${pid} could not be put on processors ${processors}`);
  }
}
