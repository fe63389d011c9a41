/**
 * JSON that keeps every digit: a number is the text that it was written as, never a double. Beyond 2^53 a double
 * would be another number, in silence.
 */

/** A number as it was written. */
export class JsonNumber {
  readonly source: string;

  constructor(source: string) {
    this.source = source;
  }
}

export type Json = null | boolean | string | JsonNumber | Json[] | { [name: string]: Json };

/** What Node 24 has beside the library of ES2024 (proposal-json-parse-with-source). */
interface JsonWithSource {
  parse(text: string, revive: (name: string, value: unknown, context: { source?: string }) => unknown): unknown;
  stringify(value: unknown, replace: (name: string, value: unknown) => unknown): string;
  rawJSON(text: string): unknown;
}
const json = JSON as unknown as JsonWithSource;

/** Throws a SyntaxError where it is not JSON. */
export function parseJson(text: string): Json {
  return json.parse(text, (_, value, { source }) => {
    return typeof value === 'number' ? new JsonNumber(source as string) : value;
  }) as Json;
}

export function printJson(value: Json): string {
  return json.stringify(value, (_, field) => (field instanceof JsonNumber ? json.rawJSON(field.source) : field));
}

/** One text for all spellings of a number: 1, 1.0 and 10e-1 are `1e0`. */
export function canonicalNumber({ source }: JsonNumber): string {
  const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(
    source,
  ) as RegExpExecArray;
  const digits = `${whole}${fraction}`.replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  if (significant === '') return '0';
  const power = BigInt(exponent) - BigInt(fraction.length) + BigInt(digits.length - significant.length);
  return `${sign}${significant}e${power}`;
}
