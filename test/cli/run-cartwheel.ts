/** Runs the command line as a process, as a person or a script would. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
/** Only stops a hang. */
const hangMs = 120_000;

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
}

export async function cartwheel(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const { code, stdout, stderr } = await cartwheelBytes(args, options);
  return { code, stdout: stdout.toString('utf8'), stderr };
}

export function cartwheelBytes(
  args: readonly string[],
  { input, env = {} }: RunOptions = {},
): Promise<{ code: number | null; stdout: Buffer; stderr: string }> {
  const { CARTWHEEL_ENDPOINT: _, ...inherited } = process.env;
  const child = spawn(process.execPath, [main, ...args], {
    env: { ...inherited, ...env },
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    timeout: hangMs,
  });
  const stdout: Buffer[] = [];
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk;
  });
  child.stdin?.end(input);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout: Buffer.concat(stdout), stderr }));
  });
}
