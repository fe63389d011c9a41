/**
 * Configuration of a process: flags, then environment variables, then defaults, checked against a schema and
 * resolved once into a frozen value. Nothing else reads the environment.
 *
 *     const config = loadConfiguration({
 *       name: 'storage-node', about: 'stores replicas', fields: {
 *         listen: address({ about: 'gRPC', default: '127.0.0.1:7411' }),
 *         data: text({ about: 'directory', example: '/var/lib/cartwheel', required: true }),
 *       } }, process.argv.slice(2), process.env);
 *
 * The field `expectedNodes` is the flag --expected-nodes and the variable CARTWHEEL_EXPECTED_NODES. A variable
 * that is set to nothing counts as not set.
 *
 * I1 All problems are reported at once, each with its key, what was seen and an example of a right value.
 */
import { hostname } from 'node:os';

export interface FieldOptions {
  readonly about: string;
  readonly example?: string;
  /** As it would be written on the command line; checked like any other value. */
  readonly default?: string;
  readonly required?: boolean;
}

export interface Field<T> {
  readonly about: string;
  readonly placeholder: string;
  readonly example: string;
  readonly default: string | undefined;
  readonly required: boolean;
  readonly isSwitch: boolean;
  /** The value, or in words what was wanted. */
  readonly parse: (text: string) => { readonly value: T } | { readonly wanted: string };
}

export interface Schema<Fields extends Record<string, Field<unknown>>> {
  readonly name: string;
  readonly about: string;
  readonly fields: Fields;
}

export type Configuration<Fields> = {
  readonly [K in keyof Fields]: Fields[K] extends Field<infer T> ? T : never;
};

/** Every problem of a configuration; the process must not start. */
export class ConfigurationProblems extends Error {
  readonly problems: readonly string[];

  constructor(name: string, problems: readonly string[]) {
    super(
      [`${name}: ${problems.length} problem${problems.length === 1 ? '' : 's'} in the configuration`, ...problems].join(
        '\n  ',
      ),
    );
    this.name = 'ConfigurationProblems';
    this.problems = problems;
  }
}

/** --help was asked for; `text` is the answer. */
export class HelpRequested extends Error {
  readonly text: string;

  constructor(text: string) {
    super('help was asked for');
    this.name = 'HelpRequested';
    this.text = text;
  }
}

/** Throws ConfigurationProblems or HelpRequested. */
export function loadConfiguration<Fields extends Record<string, Field<unknown>>>(
  schema: Schema<Fields>,
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Configuration<Fields> {
  const problems: string[] = [];
  const flags = readFlags(schema, argv, problems);
  const values: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(schema.fields)) {
    const variable = variableName(key);
    const fromFlag = flags.get(key);
    const fromEnvironment = environment[variable] === '' ? undefined : environment[variable];
    const text = fromFlag ?? fromEnvironment ?? field.default;
    const name = fromFlag === undefined && fromEnvironment !== undefined ? variable : flagName(key);
    values[key] = undefined;
    if (text === undefined) {
      const isReported = problems.some((problem) => problem.startsWith(`${flagName(key)}:`));
      if (field.required && !isReported) {
        problems.push(`${name}: missing (or set ${variable}); for example ${written(key, field)}`);
      }
      continue;
    }
    const result = field.parse(text);
    if ('value' in result) values[key] = result.value;
    else {
      const example = name === variable ? `${variable}=${field.example}` : written(key, field);
      problems.push(`${name}: wanted ${result.wanted}, saw ${JSON.stringify(text)}; for example ${example}`);
    }
  }
  if (problems.length > 0) throw new ConfigurationProblems(schema.name, problems);
  return Object.freeze(values) as Configuration<Fields>;
}

type Required = { readonly required: true } | { readonly default: string };
type Value<T, Options> = Options extends Required ? T : T | undefined;

export function text<const O extends FieldOptions>(options: O): Field<Value<string, O>> {
  return field(options, 'TEXT', 'some-text', (seen) =>
    seen.trim() === '' ? { wanted: 'some text' } : { value: seen },
  );
}

export function integer<const O extends FieldOptions & { readonly min: number; readonly max: number }>(
  options: O,
): Field<Value<number, O>> {
  const { min, max } = options;
  return field(options, 'NUMBER', String(Math.max(min, Math.min(max, 3))), (seen) => {
    const value = /^[+-]?\d{1,15}$/.test(seen) ? Number(seen) : Number.NaN;
    return value >= min && value <= max ? { value } : { wanted: `a whole number from ${min} to ${max}` };
  });
}

/** From 0 to 1. */
export function share<const O extends FieldOptions>(options: O): Field<Value<number, O>> {
  return field(options, 'SHARE', '0.05', (seen) => {
    const value = /^(\d{1,3}(\.\d{1,15})?|\.\d{1,15})(e-\d{1,2})?$/i.test(seen) ? Number(seen) : Number.NaN;
    return value >= 0 && value <= 1 ? { value } : { wanted: 'a number from 0 to 1' };
  });
}

/** http:// or https://, without user, query or fragment. */
export function url<const O extends FieldOptions>(options: O): Field<Value<string, O>> {
  return field(options, 'URL', 'http://127.0.0.1:4318', (seen) => {
    const parsed = URL.canParse(seen) ? new URL(seen) : undefined;
    const isPlain = parsed && /^https?:$/.test(parsed.protocol) && !/[?#@]/.test(seen);
    return isPlain ? { value: seen } : { wanted: 'a URL that begins with http:// or https://' };
  });
}

/** HOST:PORT, or [IPV6]:PORT. */
export function address<const O extends FieldOptions>(options: O): Field<Value<string, O>> {
  return field(options, 'HOST:PORT', '127.0.0.1:7400', (seen) =>
    splitAddress(seen) ? { value: seen } : { wanted: 'HOST:PORT with a port from 0 to 65535' },
  );
}

/** Addresses with commas between; none where it is not set. */
export function addresses(options: FieldOptions): Field<readonly string[]> {
  const withDefault = { default: '', ...options };
  return field(withDefault, 'HOST:PORT,…', '127.0.0.1:7441,127.0.0.1:7442', (seen) => {
    const list = seen
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '');
    const wrong = list.find((part) => !splitAddress(part));
    if (wrong !== undefined) {
      return { wanted: `HOST:PORT with commas between (${JSON.stringify(wrong)} is none)` };
    }
    return list.length === 0 && options.required
      ? { wanted: 'at least one HOST:PORT' }
      : { value: Object.freeze(list) };
  });
}

const UNITS_MS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
]);

/** Of what is drawn at random below it: far below 2^48, where Node refuses to draw. */
const DURATION_HOURS_MAX = 87_840;

/** In whole milliseconds, at least one where it is not 0; written with its unit: 250ms, 1.5s, 10m, 2h. */
export function duration<const O extends FieldOptions>(options: O): Field<Value<number, O>> {
  return field(options, 'DURATION', '1500ms', (seen) => {
    const [, count, unit] = /^(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h)$/.exec(seen) ?? [];
    const ms = Number(count) * (UNITS_MS.get(unit ?? '') ?? Number.NaN);
    return ms <= DURATION_HOURS_MAX * 3_600_000
      ? { value: ms > 0 ? Math.max(1, Math.round(ms)) : 0 }
      : { wanted: `a duration with its unit (ms, s, m, h), at most ten years (${DURATION_HOURS_MAX}h)` };
  });
}

export function choice<const T extends string, const O extends FieldOptions>(
  among: readonly [T, ...T[]],
  options: O,
): Field<Value<T, O>> {
  return field(options, among.join('|'), among[0], (seen) => {
    const value = among.find((one) => one === seen);
    return value === undefined ? { wanted: `one of ${among.join(', ')}` } : { value };
  });
}

/** --name, or --name=true|false; false where it is not set. */
export function toggle(options: FieldOptions): Field<boolean> {
  const made = field<boolean, FieldOptions & { default: string }>(
    { default: 'false', ...options },
    '',
    'true',
    (seen) => (seen === 'true' || seen === 'false' ? { value: seen === 'true' } : { wanted: 'true or false' }),
  );
  return { ...made, isSwitch: true, example: 'true' };
}

/** Every address of a machine: what listens there is reached at one of them, and a stranger who goes to it meets himself. */
const wildcards: readonly (string | undefined)[] = ['0.0.0.0', '::'];

export function isEveryAddress(address: string): boolean {
  return wildcards.includes(splitAddress(address)?.host);
}

/** The address of a process that nobody is told how to reach: where it listens, on this machine by its name. */
export function addressForPeople(listen: string): string {
  return isEveryAddress(listen) ? `${hostname()}:${splitAddress(listen)?.port}` : listen;
}

/** The two parts of HOST:PORT, the brackets of an IPv6 address taken off; undefined for anything else. */
export function splitAddress(text: string): { readonly host: string; readonly port: number } | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.%]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  return host !== undefined && port <= 65_535 ? { host, port } : undefined;
}

function field<T, O extends FieldOptions>(
  options: O,
  placeholder: string,
  example: string,
  parse: (text: string) => { readonly value: T } | { readonly wanted: string },
): Field<Value<T, O>> {
  return {
    about: options.about,
    placeholder,
    example: options.example ?? (options.default || example),
    default: options.default,
    required: options.required ?? false,
    isSwitch: false,
    parse: parse as Field<Value<T, O>>['parse'],
  };
}

function readFlags(
  schema: Schema<Record<string, Field<unknown>>>,
  argv: readonly string[],
  problems: string[],
): Map<string, string> {
  const byFlag = new Map(Object.keys(schema.fields).map((key) => [flagName(key), key]));
  const seen = new Map<string, string>();
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? '';
    if (word === '--help' || word === '-h') throw new HelpRequested(helpText(schema));
    const [flag = word, attached] = word.startsWith('--') ? splitOnce(word, '=') : [word];
    const key = byFlag.get(flag);
    const field = key === undefined ? undefined : schema.fields[key];
    if (key === undefined || field === undefined) {
      problems.push(unknownWord(word, flag, [...byFlag.keys()]));
      // The value of a mistyped flag is no second problem.
      if (attached === undefined && word.startsWith('--') && !(argv[i + 1] ?? '--').startsWith('--')) i++;
      continue;
    }
    let value = attached;
    if (value === undefined && field.isSwitch) value = 'true';
    if (value === undefined && i + 1 < argv.length && !argv[i + 1]?.startsWith('--')) value = argv[++i];
    if (value === undefined) problems.push(`${flag}: no value follows it; for example ${written(key, field)}`);
    else if (seen.has(key))
      problems.push(`${flag}: given twice (${JSON.stringify(seen.get(key))} and ${JSON.stringify(value)})`);
    else seen.set(key, value);
  }
  return seen;
}

function unknownWord(word: string, flag: string, known: readonly string[]): string {
  if (!word.startsWith('-')) return `${JSON.stringify(word)}: not a flag; flags begin with --`;
  const nearest = known
    .map((candidate) => ({ candidate, distance: editDistance(flag, candidate) }))
    .sort((a, b) => a.distance - b.distance)[0];
  const isNear = nearest !== undefined && nearest.distance <= Math.max(2, Math.floor(flag.length / 3));
  const hint = isNear ? `did you mean ${nearest.candidate}?` : 'see --help';
  return `${flag}: no such flag; ${hint}`;
}

function helpText(schema: Schema<Record<string, Field<unknown>>>): string {
  const rows = Object.entries(schema.fields).map(([key, field]) => {
    const notes = [
      field.required ? 'required' : undefined,
      field.default && !field.isSwitch ? `default ${field.default}` : undefined,
      variableName(key),
    ].filter((note) => note !== undefined);
    return [
      `  ${flagName(key)}${field.placeholder === '' ? '' : ` ${field.placeholder}`}`,
      `${field.about} (${notes.join('; ')})`,
    ];
  });
  rows.push(['  --help', 'show this']);
  const width = Math.max(...rows.map(([left = '']) => left.length)) + 2;
  const lines = rows.map(([left = '', right]) => `${left.padEnd(width)}${right}`);
  return [
    `${schema.name}: ${schema.about}`,
    '',
    'Flags, each with the variable that stands in for it:',
    ...lines,
    '',
  ].join('\n');
}

function flagName(key: string): string {
  return `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function variableName(key: string): string {
  return `CARTWHEEL_${key
    .replaceAll('-', '_')
    .replaceAll(/[A-Z]/g, (letter) => `_${letter}`)
    .toUpperCase()}`;
}

function written(key: string, field: Field<unknown>): string {
  return `${flagName(key)}${field.isSwitch ? '=' : ' '}${field.example}`;
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + separator.length)];
}

/** Levenshtein's distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
