/** What the life-cycle tests share: waiting, the command line as a process, and looking at a cluster from outside. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CartwheelClient, type ConnectOptions, connect } from '../../client/index.ts';
import type { Cluster, ClusterProcess } from './cluster.ts';

/** Stops a hang; nothing is asserted about how long anything takes. */
export const hangMs = 120_000;

const cliMain = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export async function until(what: string, holds: () => boolean | Promise<boolean>, everyMs = 20): Promise<void> {
  const giveUpAt = performance.now() + hangMs;
  while (!(await holds())) {
    if (performance.now() > giveUpAt) throw new Error(`${what}: not within ${hangMs} ms`);
    await pause(everyMs);
  }
}

/** Until it succeeds; once the test has timed out, what it failed with last. */
export async function retried<T>(attempt: () => Promise<T>, signal: AbortSignal, everyMs = 100): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof TypeError || signal.aborted) throw error;
      await pause(everyMs);
    }
  }
}

export async function temporaryDirectory(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'cartwheel-e2e-'));
}

export function removeDirectory(path: string): Promise<void> {
  return rm(path, { recursive: true, force: true, maxRetries: 5 });
}

/** A client for `run` alone; closed however that ends, because an open one keeps the test's process alive. */
export async function withClient<T>(options: ConnectOptions, run: (client: CartwheelClient) => Promise<T>): Promise<T> {
  const client = connect(options);
  try {
    return await run(client);
  } finally {
    await client.close();
  }
}

/** Resolves when the router and each running storage node have a stream to every running storage node. */
export async function settled({ router, nodes }: Pick<Cluster, 'router' | 'nodes'>): Promise<void> {
  const running = nodes.filter((node) => node.running);
  const watching = [...running, ...(router.running ? [router] : [])];
  await withClient({ endpoints: watching.map(({ address }) => address) }, async (client) => {
    const isSettled = async ({ address }: ClusterProcess) => {
      const { peers } = await client.status(address).catch(() => ({ peers: [] }));
      const wanted = running.filter((node) => node.address !== address).length;
      return peers.filter(({ reachable }) => reachable).length >= wanted;
    };
    for (const each of watching) await until(`${each.name} has its streams`, () => isSettled(each), 100);
  });
}

/** Per replica, the actors in the clock of what it holds of the key. All homes are reachable. */
export async function actorsOn(client: CartwheelClient, key: string): Promise<string[][]> {
  const { replicas } = await client.explain(key);
  assert.ok(
    replicas.every(({ reachable }) => reachable),
    'a replica did not answer explain',
  );
  return replicas.map(({ clock }) => clock.split(' ').filter(Boolean).map(actorOf).sort());
}

/** Of a dot as it is printed, or an entry of a clock. */
export function actorOf(dot: string): string {
  return dot.slice(0, dot.indexOf(':'));
}

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. */
export function runToEnd(
  command: string,
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string; readonly shell?: boolean } = {},
  onStderr: (soFar: string, child: ChildProcess) => void = () => {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => {
      err.push(chunk);
      onStderr(Buffer.concat(err).toString(), child);
    });
    child.once('error', reject);
    child.once('close', (code) =>
      resolve({ code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }),
    );
  });
}

/** The `cartwheel` command. */
export function cartwheel(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return runToEnd(process.execPath, [cliMain, ...args], { env: { ...cleanEnvironment(), ...env } });
}

/** The same; `onStderr` hears all that it has said on standard error, each time it says something more. */
export function cartwheelHeard(
  args: readonly string[],
  onStderr: (soFar: string, child: ChildProcess) => void,
): Promise<Ended> {
  return runToEnd(process.execPath, [cliMain, ...args], { env: cleanEnvironment() }, onStderr);
}

/** The same, with a Ctrl-C once it has said this. */
export function interruptedCartwheel(args: readonly string[], once: RegExp): Promise<Ended> {
  let isInterrupted = false;
  return cartwheelHeard(args, (said, child) => {
    if (!isInterrupted && once.test(said)) isInterrupted = child.kill('SIGINT');
  });
}

/** Without what the test runner, or a person's cluster, has put there. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([key]) => key === 'NODE_COMPILE_CACHE' || !/^(CARTWHEEL|NODE|npm)_/.test(key)),
  );
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  // A process that has ended and that nobody has waited for yet is none.
  return !/^State:\s*Z/m.test(fileOrNothing(`/proc/${pid}/status`));
}

/** Of memory that a process has now; NaN where there is no such process. */
export function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(fileOrNothing(`/proc/${pid}/status`))?.[1]) * 1024;
}

/** With spaces between the arguments; '' where there is no such process. */
export async function commandLine(pid: number): Promise<string> {
  const fromProc = fileOrNothing(`/proc/${pid}/cmdline`);
  if (fromProc !== '') return fromProc.replaceAll('\0', ' ');
  return (await runToEnd('ps', ['-o', 'command=', '-p', String(pid)])).stdout;
}

function fileOrNothing(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
