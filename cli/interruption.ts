/** Ctrl-C and SIGTERM of a command that has something to say before it ends. */
import { Problem } from './problem.ts';

export interface Interruption {
  readonly signal: AbortSignal;
  /** From now on the signals end the process as usual. */
  end(): void;
}

/** A second signal ends the process at once. */
export function interruption(signals: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM']): Interruption {
  const controller = new AbortController();
  const end = onSignals(signals, (isFirst) => (isFirst ? controller.abort() : process.exit(130)));
  return { signal: controller.signal, end };
}

/**
 * One Ctrl-C comes several times: from the terminal to all processes in its foreground, and from npm and bin/cartwheel.js,
 * which pass on what they get.
 */
const sameWithinMs = 400;

/** Calls `run` for each of the signals that a person sent. Gives what ends that. */
export function onSignals(signals: readonly NodeJS.Signals[], run: (isFirst: boolean) => void): () => void {
  let last: number | undefined;
  const onSignal = () => {
    const now = performance.now();
    if (last !== undefined && now - last < sameWithinMs) return;
    const isFirst = last === undefined;
    last = now;
    run(isFirst);
  };
  for (const signal of signals) process.on(signal, onSignal);
  return () => {
    for (const signal of signals) process.off(signal, onSignal);
  };
}

export class Interrupted extends Problem {
  constructor(message: string, hint: string) {
    super(message, hint, 130);
  }
}

/**
 * Runs `work`; interrupted meanwhile it throws what `told` says then. What had begun by then ends with the process: `work`
 * looks at the signal before it begins something that stays.
 */
export async function unlessInterrupted<T>(
  work: (signal: AbortSignal) => Promise<T>,
  told: () => Interrupted,
): Promise<T> {
  const { signal, end } = interruption();
  try {
    return await new Promise<T>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(told()));
      work(signal).then(resolve, reject);
    });
  } finally {
    end();
  }
}
