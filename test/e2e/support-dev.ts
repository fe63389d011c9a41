/** `cartwheel dev` as a test sees it: a process without a terminal, its lines, and the children it names. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cleanEnvironment, hangMs, until } from './support.ts';

export interface Dev {
  readonly pid: number;
  readonly directory: string;
  readonly basePort: number;
  /** Everything it has printed, stderr included. */
  output(): string;
  /** Process ids of its children by name, as they are now. */
  children(): Readonly<Record<string, number>>;
  /** Resolves with the exit code, or the name of the signal that ended it. */
  readonly ended: Promise<number | string>;
  signal(signal: NodeJS.Signals): void;
}

export const repository = fileURLToPath(new URL('../..', import.meta.url));

/** How it is started: straight, or as the script of `npm start` does. */
export const straight: readonly string[] = [process.execPath, join(repository, 'cli', 'main.ts'), 'dev'];
export const asNpmStart: readonly string[] = [process.execPath, join(repository, 'bin', 'start.js')];

/** What moves does not give way to the other tests that share the processors, nor to the load of its own. */
const hasty = { CARTWHEEL_BACKGROUND_TARGET: '10s' };

/** Resolves when it has printed that it is ready. */
export async function startDev(
  directory: string,
  basePort: number,
  flags: readonly string[] = [],
  command: readonly string[] = straight,
): Promise<Dev> {
  const [program, ...first] = command as [string, ...string[]];
  const args = [...first, '--data', directory, '--base-port', String(basePort), ...flags];
  const child: ChildProcess = spawn(program, args, {
    cwd: repository,
    env: { ...cleanEnvironment(), ...hasty },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  let over = false;
  const ended = new Promise<number | string>((resolve) => {
    child.once('exit', (code, signal) => {
      over = true;
      resolve(code ?? signal ?? 'unknown');
    });
  });
  const dev: Dev = {
    pid: child.pid as number,
    directory,
    basePort,
    output: () => output,
    children: () => JSON.parse(readFileSync(join(directory, 'run.json'), 'utf8')),
    ended,
    signal: (signal) => child.kill(signal),
  };
  await until('dev is ready', () => {
    if (over) throw new Error(`dev ended before it was ready:\n${output}`);
    return /^ready: /m.test(output);
  }).catch((error: Error) => {
    child.kill('SIGKILL');
    throw new Error(`${error.message}\n${output}`);
  });
  return dev;
}

/** Ends it however it stands; for the end of a test. */
export async function endDev(dev: Dev): Promise<void> {
  dev.signal('SIGTERM');
  const late = setTimeout(() => dev.signal('SIGKILL'), hangMs);
  await dev.ended;
  clearTimeout(late);
}
