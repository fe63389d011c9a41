/** A benchmark as a command: interrupted by a signal, which ends what it has started, and with an exit code for the caller. */
import { CommanderError } from 'commander';
import { Problem, problemText } from '../../cli/problem.ts';

/**
 * Runs it to its end; `signal` is aborted when the command is interrupted (exit code 130). Flags that cannot be understood
 * (of a Command with exitOverride) give 2, a Problem its own code, what the system refuses (a directory that cannot be
 * written) 1, and both are told as text. All else is thrown.
 */
export async function runBenchmark(
  name: string,
  main: (flags: readonly string[], signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort(new Problem('interrupted', undefined, 130));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  // Started by start.js, which leaves a channel open: when that is gone, however it went, this ends too.
  process.once('disconnect', interrupt);
  process.channel?.unref();
  try {
    await main(process.argv.slice(2), interrupted.signal);
    interrupted.signal.throwIfAborted();
  } catch (error) {
    const problem = interrupted.signal.aborted ? (interrupted.signal.reason as unknown) : error;
    if (problem instanceof CommanderError) process.exitCode = problem.exitCode === 0 ? 0 : 2;
    else if (!(problem instanceof Problem) && !isOfSystem(problem)) throw problem;
    else {
      process.stderr.write(`${name}: ${problemText(problem)}\n`);
      process.exitCode = problem instanceof Problem ? problem.exitCode : 1;
    }
  }
}

/** Its message names what was refused, and where. */
function isOfSystem(error: unknown): boolean {
  return typeof (error as Partial<NodeJS.ErrnoException> | null)?.errno === 'number';
}
