/** kubectl and helm, as the tests of the chart use them. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePorts } from '../e2e/ports.ts';

export const chart = fileURLToPath(new URL('../../helm/cartwheel', import.meta.url));

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** `input` is what it reads. */
export function run(command: string, args: readonly string[], input?: Readable): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = execFile(command, args, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== 'number') reject(error);
      else resolve({ code: error === null ? 0 : (error.code as number), stdout, stderr });
    });
    if (input === undefined || child.stdin === null) return;
    child.stdin.on('error', () => {}); // it has ended before it read all, and says why
    input.pipe(child.stdin);
  });
}

/** What it prints. Throws what it says when it fails. */
export async function done(command: string, ...args: string[]): Promise<string> {
  return printed(await run(command, args), command, args);
}

export async function fed(input: Readable, command: string, ...args: string[]): Promise<string> {
  return printed(await run(command, args, input), command, args);
}

function printed({ code, stdout, stderr }: Ended, command: string, args: readonly string[]): string {
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${stderr || stdout}`);
  return stdout;
}

export async function isThere(command: string): Promise<boolean> {
  return run(command, ['version']).then(
    () => true,
    () => false,
  );
}

export interface Forward {
  /** host:port on this machine. */
  readonly address: string;
  /** To a pod that is there now. */
  renew(): void;
  stop(): void;
}

/** A port of this machine that leads to the target for as long as there is one: begun again whenever it ends. */
export async function forward(namespace: string, target: string, port: number): Promise<Forward> {
  const [local] = await freePorts(1);
  let stopped = false;
  let child: ReturnType<typeof spawn> | undefined;
  const begin = () => {
    if (stopped) return;
    child = spawn('kubectl', ['-n', namespace, 'port-forward', target, `${local}:${port}`], { stdio: 'ignore' });
    child.once('exit', () => void pause(200).then(begin));
  };
  begin();
  return {
    address: `127.0.0.1:${local}`,
    renew: () => void child?.kill(),
    stop() {
      stopped = true;
      child?.kill();
    },
  };
}

/** What `kubectl get --raw` asks, by one process for many questions. */
export async function rawApi(): Promise<{ get(path: string): Promise<string>; stop(): void }> {
  const child = spawn('kubectl', ['proxy', '--port=0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  const address = /[\d.]+:\d+/.exec(said.toString())?.[0];
  return {
    async get(path) {
      const answer = await fetch(`http://${address}${path}`);
      const body = await answer.text();
      if (!answer.ok) throw new Error(`${path} was answered with ${answer.status}: ${body}`);
      return body;
    },
    stop: () => void child.kill(),
  };
}
