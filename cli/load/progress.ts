/** A progress line on standard error: redrawn in place on a terminal, a new line every few seconds elsewhere. */
import { basename } from 'node:path';
import { count, displayWidth, duration, plural, printable } from '../output.ts';

export interface ProgressFigures {
  /** 0 to 1. */
  readonly fraction: number;
  /** Done in this run. */
  readonly done: number;
  readonly errors: number;
}

const redrawMs = 200;
const lineMs = 5000;
/** The rate shown is over about this long. */
const rateWindowMs = 5000;
const barCells = 24;

export class Progress {
  private readonly name: string;
  private readonly read: () => ProgressFigures;
  private readonly timer: NodeJS.Timeout;
  private readonly samples: { at: number; done: number; fraction: number }[] = [];
  private readonly started = performance.now();

  /** `verb`: what is done with the records, such as "loading". */
  constructor(verb: string, path: string, read: () => ProgressFigures) {
    this.name = `${verb} ${printable(basename(path))}`;
    this.read = read;
    this.samples.push({ at: this.started, done: 0, fraction: read().fraction });
    const isTerminal = process.stderr.isTTY === true;
    this.timer = setInterval(() => this.show(), isTerminal ? redrawMs : lineMs);
  }

  /** Ends it, and leaves the terminal's line empty. */
  end(): void {
    clearInterval(this.timer);
    if (process.stderr.isTTY === true) process.stderr.write('\r\x1b[K');
  }

  get seconds(): number {
    return (performance.now() - this.started) / 1000;
  }

  private show(): void {
    const { fraction, done, errors } = this.read();
    const now = performance.now();
    this.samples.push({ at: now, done, fraction });
    while (this.samples.length > 2 && now - (this.samples[0]?.at ?? now) > rateWindowMs) this.samples.shift();
    const line = progressLine(this.name, { fraction, done, errors }, this.samples, process.stderr.isTTY === true);
    if (process.stderr.isTTY === true) process.stderr.write(`\r${fitted(line, process.stderr.columns)}\x1b[K`);
    else process.stderr.write(`${line}\n`);
  }
}

export function progressLine(
  name: string,
  figures: ProgressFigures,
  samples: readonly { at: number; done: number; fraction: number }[],
  withBar: boolean,
): string {
  const first = samples[0];
  const last = samples.at(-1);
  const seconds = first === undefined || last === undefined ? 0 : (last.at - first.at) / 1000;
  const perSecond = seconds === 0 ? 0 : ((last?.done ?? 0) - (first?.done ?? 0)) / seconds;
  const fractionPerSecond = seconds === 0 ? 0 : ((last?.fraction ?? 0) - (first?.fraction ?? 0)) / seconds;
  const left = fractionPerSecond > 0 ? (1 - figures.fraction) / fractionPerSecond : Number.POSITIVE_INFINITY;
  const filled = Math.round(figures.fraction * barCells);
  return [
    name,
    ...(withBar ? [`[${'#'.repeat(filled)}${'-'.repeat(barCells - filled)}]`] : []),
    `${Math.floor(figures.fraction * 100)}%`,
    plural(figures.done, 'record'),
    `${count(Math.round(perSecond))}/s`,
    `${duration(left)} left`,
    ...(figures.errors === 0 ? [] : [plural(figures.errors, 'error')]),
  ].join('  ');
}

function fitted(line: string, columns: number): string {
  return displayWidth(line) < columns ? line : line.slice(0, Math.max(0, columns - 1));
}
