import { InvalidArgumentError } from 'commander';
import { printable } from './output.ts';
import { usageProblem } from './problem.ts';

/** Readers of option values: a value of the right type, or an error that says what a right one looks like. */

export function integerBetween(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least && value <= most)) {
      throw new InvalidArgumentError(`Wanted a whole number from ${least} to ${most}.`);
    }
    return value;
  };
}

export function fractionOfOne(text: string): number {
  const value = /^\d*\.?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= 0 && value <= 1)) throw new InvalidArgumentError('Wanted a number from 0 to 1, such as 0.5.');
  return value;
}

const millisecondsPer: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** "500ms", "2s", "1m" → milliseconds, at least 1. */
export function durationMs(text: string): number {
  const [, number, unit] = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)$/.exec(text) ?? [];
  const value = Math.round(Number(number) * (millisecondsPer[unit ?? ''] ?? Number.NaN));
  if (!(value >= 1 && value <= 2 ** 31 - 1)) {
    throw new InvalidArgumentError('Wanted a number with a unit, such as 500ms, 2s or 1m.');
  }
  return value;
}

/** "500ms", "30m", "7d" → milliseconds, at least 1, at most ten years. */
export function longDurationMs(text: string): number {
  const [, number, unit] = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text) ?? [];
  const value = Math.round(Number(number) * (unit === 'd' ? 86_400_000 : (millisecondsPer[unit ?? ''] ?? Number.NaN)));
  if (!(value >= 1 && value <= 3_660 * 86_400_000)) {
    throw new InvalidArgumentError('Wanted a number with a unit, at most ten years, such as 500ms, 30m or 7d.');
  }
  return value;
}

export function powerOfTwoBetween(least: number, most: number): (text: string) => number {
  const whole = integerBetween(least, most);
  return (text) => {
    const value = whole(text);
    if ((value & (value - 1)) !== 0) throw new InvalidArgumentError('Wanted a power of two, such as 64.');
    return value;
  };
}

/** "host:port,host:port" → a list of them. */
export function endpoints(text: string): string[] {
  const list = text.split(',').map((endpoint) => endpoint.trim());
  for (const endpoint of list) {
    const [, , port] = /^(\[[0-9a-fA-F:.]+\]|[^\s:/\\[\]]+):(\d{1,5})$/.exec(endpoint) ?? [];
    if (!(Number(port) >= 1 && Number(port) <= 65_535)) {
      throw new InvalidArgumentError(`Wanted host:port[,host:port…], such as 127.0.0.1:7400; saw '${endpoint}'.`);
    }
  }
  return list;
}

export function base64Bytes(text: string): Buffer {
  if (text === '' || !/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.replace(/=+$/, '').length % 4 === 1) {
    throw new InvalidArgumentError('Wanted base64, as `cartwheel get -o json` prints it.');
  }
  return Buffer.from(text, 'base64');
}

/**
 * An argument as the bytes that were meant. Node, and npx before it, put U+FFFD in the place of what is not UTF-8: other
 * bytes than were given, in silence. So that character is refused; `otherwise` says how to give it, or any bytes.
 */
export function argumentBytes(argument: string, name: string, otherwise: string): Buffer {
  if (argument.includes('\ufffd')) {
    throw usageProblem(
      `${name} '${printable(argument)}' has U+FFFD in it: it was not UTF-8, and its bytes are lost`,
      otherwise,
    );
  }
  return Buffer.from(argument, 'utf8');
}

export function processIds(text: string): number[] {
  return text.split(',').map((pid) => {
    if (!/^[1-9]\d{0,9}$/.test(pid)) throw new InvalidArgumentError('Wanted process ids, such as 4711,4712.');
    return Number(pid);
  });
}
