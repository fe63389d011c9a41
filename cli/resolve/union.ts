/**
 * A mechanical merge of JSON siblings, for data whose meaning is "everything that anybody added":
 *
 *   arrays     every element of any of them, once, in the order of first sight
 *   objects    every member of any of them; members of both merge likewise
 *   the rest   must be equal
 *
 * Equal means equal as JSON, whatever the order of members and the spelling of numbers, which keep the one that came
 * first. It cannot tell what somebody removed from what somebody else never had: what was removed on one side only
 * comes back.
 */
import { canonicalNumber, type Json, JsonNumber, printJson } from './lossless-json.ts';

/** Two siblings say different things at `path`, and neither is a collection. */
export class UnionImpossible extends Error {
  readonly path: string;

  constructor(path: string, a: Json, b: Json) {
    super(`siblings differ at ${path}: ${shown(a)} and ${shown(b)}`);
    this.name = 'UnionImpossible';
    this.path = path;
  }
}

export function union(values: readonly [Json, ...Json[]]): Json {
  const [first, ...rest] = values;
  return rest.reduce((merged, value) => unionOfTwo(merged, value, '$'), first);
}

function unionOfTwo(a: Json, b: Json, path: string): Json {
  if (Array.isArray(a) && Array.isArray(b)) {
    const seen = new Set<string>();
    return [...a, ...b].filter((element) => {
      const text = canonical(element);
      return seen.has(text) ? false : seen.add(text);
    });
  }
  if (isObject(a) && isObject(b)) {
    const merged: { [name: string]: Json } = Object.create(null);
    for (const [name, value] of Object.entries(a)) {
      merged[name] = Object.hasOwn(b, name) ? unionOfTwo(value, b[name] as Json, `${path}.${name}`) : value;
    }
    for (const [name, value] of Object.entries(b)) if (!Object.hasOwn(a, name)) merged[name] = value;
    return merged;
  }
  if (canonical(a) === canonical(b)) return a;
  throw new UnionImpossible(path, a, b);
}

function isObject(value: Json): value is { [name: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof JsonNumber);
}

/** One text for all spellings of a value. */
function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value instanceof JsonNumber) return canonicalNumber(value);
  if (!isObject(value)) return JSON.stringify(value);
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonical(value[name] as Json)}`).join(',')}}`;
}

function shown(value: Json): string {
  const text = printJson(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
