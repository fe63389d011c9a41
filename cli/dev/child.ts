/**
 * One child process of `cartwheel dev`: started, watched, started again. Owns its log file and its state;
 * knows nothing of the others.
 *
 *     idle
 *      │ start()
 *   starting ──/readyz 200──► up ◄──► not ready
 *       └────────exit──────────┴──► dead ──start()──► starting
 */
import { type ChildProcess, fork } from 'node:child_process';
import { closeSync, copyFileSync, openSync, renameSync, statSync, truncateSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { oneHelperThread } from '../../services/platform/garbage.ts';
import { makeDirectory } from '../../services/platform/make-directory.ts';
import { messageOf, systemCodeOf } from '../problem.ts';
import { loopback, type ProcessPlan } from './layout.ts';

export type ChildState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'starting'; readonly since: number }
  | { readonly kind: 'up'; readonly since: number }
  | { readonly kind: 'not ready'; readonly since: number; readonly why: string }
  | { readonly kind: 'dead'; readonly since: number; readonly why: string };

/** A log longer than this moves to NAME.log.1, over the one that was there. */
const logBytesMax = 32 * 1024 * 1024;
/** Delay before an automatic restart: doubled from the first to the last while the child keeps dying young. */
const restartDelayFirstMs = 500;
const restartDelayLastMs = 10_000;
/** A child that lived longer than this begins with the first delay again. */
const restartDelayForgottenMs = 30_000;

const leash = fileURLToPath(new URL('./leash.ts', import.meta.url));

export class Child {
  readonly plan: ProcessPlan;
  state: ChildState = { kind: 'idle' };
  private process: ChildProcess | undefined;
  private restartDelayMs = restartDelayFirstMs;
  private readonly onChange: (child: Child) => void;

  constructor(plan: ProcessPlan, onChange: (child: Child) => void) {
    this.plan = plan;
    this.onChange = onChange;
  }

  get pid(): number | undefined {
    return this.process?.pid;
  }

  get isDead(): boolean {
    return this.state.kind === 'dead';
  }

  /** Does nothing when it runs. */
  start(): void {
    if (this.process !== undefined) return;
    const started = Date.now();
    const log = this.openLog();
    if (typeof log === 'string') {
      this.become({ kind: 'dead', since: started, why: log });
      return;
    }
    try {
      const child = fork(this.plan.script, this.plan.arguments, {
        execArgv: [oneHelperThread, '--import', leash],
        stdio: ['ignore', log, log, 'ipc'],
        // A Ctrl-C in the terminal is for dev, which then ends its children in good order.
        detached: true,
      });
      this.process = child;
      this.state = { kind: 'starting', since: started };
      child.once('error', (error) => this.ended(child, started, error.message));
      child.once('exit', (code, signal) => this.ended(child, started, exitText(code, signal)));
    } finally {
      closeSync(log);
    }
    this.onChange(this);
  }

  /** Why not, where it cannot be opened: the disk may be full, or the data directory gone. */
  private openLog(): number | string {
    try {
      makeDirectory(dirname(this.plan.logFile));
      return openSync(this.plan.logFile, 'a');
    } catch (error) {
      return `its log cannot be written: ${messageOf(error)}`;
    }
  }

  /** The delay to wait before starting this dead child again, longer each time. */
  nextRestartDelayMs(): number {
    const delay = this.restartDelayMs;
    this.restartDelayMs = Math.min(delay * 2, restartDelayLastMs);
    return delay;
  }

  /** Asks /readyz once and takes over what it says. */
  async probe(): Promise<void> {
    const before = this.process;
    if (before === undefined) return;
    const why = await notReadyReason(this.plan.adminPort);
    if (this.process !== before) return; // it died, or is another one by now
    if (why === undefined) {
      if (this.state.kind !== 'up') this.become({ kind: 'up', since: Date.now() });
    } else if (this.state.kind === 'up') {
      this.become({ kind: 'not ready', since: Date.now(), why });
    }
  }

  signal(signal: 'SIGTERM' | 'SIGKILL'): void {
    this.process?.kill(signal);
  }

  /** The last lines of its log: what it said before it died. */
  async lastWords(lines: number): Promise<string[]> {
    const tailBytes = 8192;
    const file = await open(this.plan.logFile, 'r');
    try {
      const { size } = await file.stat();
      const start = Math.max(0, size - tailBytes);
      const { buffer, bytesRead } = await file.read(Buffer.alloc(tailBytes), 0, tailBytes, start);
      return buffer.toString('utf8', 0, bytesRead).trimEnd().split('\n').slice(-lines);
    } finally {
      await file.close();
    }
  }

  /** Begins a new log and keeps the one before. For the start of dev, before the child runs. */
  rotateLog(): void {
    try {
      renameSync(this.plan.logFile, `${this.plan.logFile}.1`);
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOENT') throw error;
    }
  }

  /** Keeps the log of a running child bounded. It writes in append mode, so truncating under it is safe. */
  boundLog(): void {
    const bytes = statSync(this.plan.logFile, { throwIfNoEntry: false })?.size ?? 0;
    if (bytes <= logBytesMax) return;
    try {
      copyFileSync(this.plan.logFile, `${this.plan.logFile}.1`);
    } catch {} // no room for both: the later lines are worth more
    truncateSync(this.plan.logFile);
  }

  private ended(child: ChildProcess, started: number, why: string): void {
    if (this.process !== child) return;
    if (Date.now() - started > restartDelayForgottenMs) this.restartDelayMs = restartDelayFirstMs;
    this.process = undefined;
    this.become({ kind: 'dead', since: Date.now(), why });
  }

  private become(state: ChildState): void {
    this.state = state;
    this.onChange(this);
  }
}

function exitText(code: number | null, signal: string | null): string {
  return signal === null ? `exit code ${code}` : `killed by ${signal}`;
}

const probeTimeoutMs = 1000;

async function notReadyReason(adminPort: number): Promise<string | undefined> {
  try {
    const answer = await fetch(`http://${loopback}:${adminPort}/readyz`, {
      signal: AbortSignal.timeout(probeTimeoutMs),
      headers: { connection: 'close' },
    });
    const body = await answer.text();
    return answer.status === 200 ? undefined : body.slice(0, 200).trim() || `/readyz says ${answer.status}`;
  } catch (error) {
    return systemCodeOf((error as { cause?: unknown }).cause) ?? 'no answer to /readyz';
  }
}
