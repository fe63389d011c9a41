/**
 * What `cartwheel dev` shows: a table redrawn in place on a terminal, a line for each change elsewhere. Both are
 * fed with the same children; neither decides anything.
 */
import { count, displayWidth, duration, printable, table } from '../output.ts';
import type { Child } from './child.ts';
import type { Figures } from './figures.ts';
import { addressOf } from './layout.ts';

const columns = [
  { title: 'PROCESS' },
  { title: 'PID', align: 'right' },
  { title: 'ADDRESS' },
  { title: 'ZONE' },
  { title: 'STATE' },
  { title: 'OPS/S', align: 'right' },
  { title: 'P99.9', align: 'right' },
  { title: 'KEYS', align: 'right' },
] as const;

export interface TableInput {
  readonly children: readonly Child[];
  readonly figures: ReadonlyMap<string, Figures>;
  /** The command that starts dead children. */
  readonly restartCommand: string;
  readonly now: number;
}

/** The live table and its footer, lines cut to `width`, where that is known (not 0). */
export function liveTable({ children, figures, restartCommand, now }: TableInput, width: number): string[] {
  const rows = children.map((child) => {
    const { name, port, zone } = child.plan;
    const figure = figures.get(name);
    return [
      name,
      String(child.pid ?? '-'),
      addressOf(port),
      zone === '' ? '-' : zone,
      stateText(child, now),
      figure === undefined ? '-' : count(Math.round(figure.operationsPerSecond)),
      figure?.p999 === undefined ? '-' : milliseconds(figure.p999),
      figure?.keys === undefined ? '-' : count(figure.keys),
    ];
  });
  const dead = children.filter((child) => child.isDead).length;
  const footer = dead === 0 ? 'q quits' : `q quits, r starts dead ones again; elsewhere: ${restartCommand}`;
  return [...table(columns, rows).trimEnd().split('\n'), '', footer].map((line) =>
    cut(line, width || unknownSize.columns),
  );
}

/** What just became of a child, in one line. */
export function changeLine(child: Child, restartCommand: string, restartsByItself: boolean): string {
  const { name, port } = child.plan;
  switch (child.state.kind) {
    case 'idle':
      return `${name} not started yet`;
    case 'starting':
      return `${name} starting (pid ${child.pid}, ${addressOf(port)})`;
    case 'up':
      return `${name} up`;
    case 'not ready':
      return `${name} not ready: ${printable(child.state.why)}`;
    case 'dead':
      return `${name} DEAD (${child.state.why}); ${
        restartsByItself ? 'it is started again' : `this starts it again: ${restartCommand}`
      }`;
  }
}

function stateText(child: Child, now: number): string {
  const { state } = child;
  switch (state.kind) {
    case 'idle':
      return '-';
    case 'starting':
      return `starting ${duration((now - state.since) / 1000)}`;
    case 'up':
      return 'up';
    case 'not ready':
      return `not ready: ${state.why}`;
    case 'dead':
      return `DEAD since ${timeOfDay(state.since)} (${state.why})`;
  }
}

export function timeOfDay(time: number): string {
  const date = new Date(time);
  const two = (n: number) => String(n).padStart(2, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

function milliseconds(seconds: number): string {
  return Number.isFinite(seconds) ? `${(seconds * 1000).toPrecision(3)} ms` : '> 60 s';
}

function cut(line: string, width: number): string {
  if (displayWidth(line) <= width) return line;
  let shown = '';
  for (const character of line) {
    if (displayWidth(shown + character) >= width) break;
    shown += character;
  }
  return `${shown}…`;
}

/** A terminal may say that it has none, as one does that nobody has told its size (`docker exec -t`). */
const unknownSize = { columns: 120, rows: 40 } as const;

/** Redraws a block of lines in place. Whatever else is to be seen goes through `above`. */
export class LiveBlock {
  private drawn = 0;
  private readonly out: NodeJS.WriteStream;

  constructor(out: NodeJS.WriteStream) {
    this.out = out;
  }

  draw(lines: readonly string[]): void {
    const fitting = lines.slice(0, Math.max(1, (this.out.rows || unknownSize.rows) - 1));
    this.out.write(`${this.erased()}${fitting.map((line) => `${line}\n`).join('')}`);
    this.drawn = fitting.length;
  }

  /** Prints lines that stay, where the block was; the next `draw` comes below them. */
  above(text: string): void {
    this.out.write(`${this.erased()}${text}`);
    this.drawn = 0;
  }

  private erased(): string {
    return this.drawn === 0 ? '' : `\x1b[${this.drawn}A\x1b[J`;
  }
}
