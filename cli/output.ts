/**
 * Text for people and for programs: tables, blocks, JSON, and the one way to standard output.
 *
 * I1 Nothing that came from a store, a file or a server reaches a terminal with control characters in it
 *    (`printable`); exact bytes leave only in JSON or where bytes were asked for.
 * I2 Everything on standard output is what was asked for; notes, progress and errors go to standard error.
 */

import { messageOf } from './problem.ts';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/** Rows under their titles, columns padded to the widest cell, two spaces between, no trailing spaces. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => columns.map((_, i) => printable(row[i] ?? '')));
  const widths = columns.map((column, i) =>
    cells.reduce((widest, row) => Math.max(widest, displayWidth(row[i] as string)), displayWidth(column.title)),
  );
  const line = (row: readonly string[]) =>
    columns
      .map((column, i) => {
        const cell = row[i] as string;
        const padding = ' '.repeat((widths[i] as number) - displayWidth(cell));
        return column.align === 'right' ? padding + cell : cell + padding;
      })
      .join('  ')
      .trimEnd();
  return `${[line(columns.map((column) => column.title)), ...cells.map(line)].join('\n')}\n`;
}

const wide = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}]/u;

/** Terminal columns, as far as can be told without asking the terminal. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    if (/\p{M}|\p{Cf}/u.test(character)) continue; // combines with the one before, or shows nothing
    width += wide.test(character) ? 2 : 1;
  }
  return width;
}

/** Control characters (and those that reorder text) as escapes, so that data cannot drive the terminal. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, (character) => {
    if (character === '\n') return '\\n';
    if (character === '\t') return '\\t';
    const code = character.codePointAt(0) as number;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text that `bytes` are in UTF-8, or undefined where they are not. */
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** One word of a POSIX shell, for a command that a person may paste. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Bytes for a person: the text itself, or hexadecimal; cut after `limit` characters. */
export function preview(bytes: Uint8Array, limit: number): string {
  const text = textOf(bytes);
  const shown = text === undefined ? `0x${Buffer.from(bytes.subarray(0, limit)).toString('hex')}` : printable(text);
  if (bytes.length === 0) return '(empty)';
  if (shown.length <= limit) return shown;
  return `${shown.slice(0, limit)}… (${count(bytes.length)} bytes)`;
}

/** `{ name: text }`, or `{ nameBase64: … }` where the bytes are not UTF-8. */
export function bytesField(name: string, bytes: Uint8Array): Record<string, string> {
  const text = textOf(bytes);
  return text === undefined ? { [`${name}Base64`]: base64(bytes) } : { [name]: text };
}

export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/** JSON on one line. 64-bit numbers become numbers where that is exact, else strings; bytes become base64. */
export function json(value: unknown): string {
  return `${JSON.stringify(value, (_, field: unknown) => {
    if (typeof field === 'bigint') return field <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(field) : String(field);
    if (field instanceof Uint8Array) return base64(field);
    if (isBufferJson(field)) return Buffer.from(field.data).toString('base64');
    return field;
  })}\n`;
}

/** What Buffer.toJSON makes before a replacer sees it. */
function isBufferJson(value: unknown): value is { type: 'Buffer'; data: number[] } {
  const candidate = value as { type?: unknown; data?: unknown } | null;
  return typeof value === 'object' && candidate?.type === 'Buffer' && Array.isArray(candidate.data);
}

/** 171075 → 171,075. */
export function count(n: number | bigint): string {
  return n.toLocaleString('en-US');
}

/** `plural(1, 'record')` → "1 record". */
export function plural(n: number, noun: string, nouns = `${noun}s`): string {
  return `${count(n)} ${n === 1 ? noun : nouns}`;
}

/** 1536 → "1.5 KiB". */
export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let rest = n;
  while (rest >= 1024 && unit < units.length - 1) {
    rest /= 1024;
    unit++;
  }
  return `${unit === 0 ? rest : rest.toFixed(1)} ${units[unit]}`;
}

/** 83 → "1 min 23 s"; below ten seconds with a decimal. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

/** Writes to standard output and waits while the reader is behind, so that nothing piles up in memory. */
export function write(data: string | Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    if (process.stdout.write(data)) resolve();
    else process.stdout.once('drain', resolve);
  });
}

/** Why standard output cannot be written, in a line. */
export function outputProblem(error: NodeJS.ErrnoException): string {
  const why = error.code === 'ENOSPC' ? 'no space is left where it goes to' : messageOf(error);
  return `cannot write to standard output: ${why}`;
}

/** A line on standard error. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}
