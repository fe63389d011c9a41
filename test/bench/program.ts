/** Programs that are run to their end. */
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { messageOf, Problem, systemCodeOf } from '../../cli/problem.ts';

/** The clone; no slash at its end. */
export const root = resolve(fileURLToPath(new URL('../..', import.meta.url)));

/** Returns what it wrote; its errors go to standard error. `tell` hears each line as it comes; what it throws ends the program. */
export function runProgram(
  command: string,
  flags: readonly string[],
  signal: AbortSignal,
  tell?: (line: string) => void,
  directory = root,
): Promise<string> {
  // By the channel a program of ours can know that this process is gone, however it went; the others do not look at it.
  const child = spawn(command, flags, { cwd: directory, stdio: ['ignore', 'pipe', 'inherit', 'ipc'], signal });
  const stdout = child.stdout as Readable;
  let output = '';
  let toldUpTo = 0;
  let failure: unknown;
  stdout.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk;
    for (let end = output.indexOf('\n', toldUpTo); end >= 0; end = output.indexOf('\n', toldUpTo)) {
      const line = output.slice(toldUpTo, end);
      toldUpTo = end + 1;
      try {
        tell?.(line);
      } catch (error) {
        failure ??= error;
        child.kill();
      }
    }
  });
  return new Promise<string>((resolve, reject) => {
    child.once('error', (error) => {
      failure ??= signal.aborted ? (signal.reason ?? error) : error;
      if (systemCodeOf(error) === 'ENOENT') reject(new Problem(`${command} cannot be run: ${messageOf(error)}`));
    });
    child.once('close', (code) => {
      if (failure !== undefined) reject(failure);
      else if (code === 0) resolve(output);
      else reject(new Problem(`${command} ended with exit code ${code}`, 'its output above says why'));
    });
  });
}
