import { type Command, InvalidArgumentError, Option } from 'commander';
import type { CartwheelClient, ChangedNamespace, Namespace, NamespaceSettings } from '../../client/index.ts';
import { withClient } from '../connection.ts';
import { duration, json, note, plural, table, write } from '../output.ts';
import { Problem, usageProblem } from '../problem.ts';
import { type Settings, settingsOf } from '../settings.ts';
import { fractionOfOne, integerBetween, longDurationMs } from '../values.ts';

interface SettingOptions {
  r?: number;
  w?: number;
  durability?: NonNullable<NamespaceSettings['durability']>;
  resolution?: NonNullable<NamespaceSettings['resolution']>;
  ttl?: number;
  strict?: boolean;
  readAll?: number;
  losersKept?: number;
  expectedVersion?: number;
}

const columns = [
  { title: 'NAME' },
  { title: 'VERSION', align: 'right' },
  { title: 'R' },
  { title: 'W' },
  { title: 'DURABILITY' },
  { title: 'RESOLUTION' },
  { title: 'TTL' },
  { title: 'STRICT' },
  { title: 'READ ALL' },
] as const;

const examples = `
A change is known to every storage node that can be reached when the command ends; the others are named, and learn
it by gossip. Operations in a namespace that a node does not know yet are refused with NAMESPACE_UNKNOWN.

Examples:
  cartwheel namespace create carts
  cartwheel namespace create sessions --strict --r 1 --w 3
  cartwheel namespace create metrics --durability BUFFERED
  cartwheel namespace alter sessions --no-strict --read-all 0.1
  cartwheel namespace list
  cartwheel put --namespace carts cart-1 '{"items":[]}'`;

export function addNamespace(program: Command): void {
  const namespace = program
    .command('namespace')
    .description('create, alter, list and show namespaces: how their keys are kept')
    .addHelpText('after', examples);

  addSettingOptions(namespace.command('create').argument('<name>', 'a-z 0-9 . _ -, at most 63'))
    .description('create a namespace; what is not said is as in "default"')
    .addHelpText('after', examples)
    .action((name: string, options: SettingOptions, command: Command) =>
      changeWith(command, 'created', (client) => client.namespaces.create(name, settingsFrom(options))),
    );

  addSettingOptions(namespace.command('alter').argument('<name>', 'of a namespace that there is'))
    .description('alter a namespace; what is not said stays as it is')
    .option('--no-strict', 'let fallbacks take writes again')
    .option('--expected-version <n>', 'only where this is its version now', integerBetween(0, 2 ** 31))
    .addHelpText('after', examples)
    .action((name: string, options: SettingOptions, command: Command) => {
      const { expectedVersion } = options;
      const settings = settingsFrom(options);
      if (Object.values(settings).every((value) => value === undefined)) {
        throw usageProblem('there is nothing to alter', 'cartwheel namespace alter --help lists what there is');
      }
      return changeWith(command, 'altered', (client) => client.namespaces.alter(name, settings, { expectedVersion }));
    });

  namespace
    .command('list')
    .description('list all namespaces')
    .action(async (_: object, command: Command) => {
      const settings = settingsOf(command);
      await show(settings, await withClient(settings, (client) => client.namespaces.list()));
    });

  namespace
    .command('show')
    .argument('<name>', 'of a namespace')
    .description('show one namespace')
    .action(async (name: string, _: object, command: Command) => {
      const settings = settingsOf(command);
      const all = await withClient(settings, (client) => client.namespaces.list());
      const found = all.find((each) => each.name === name);
      if (found === undefined) throw new Problem(`there is no namespace ${name}`, 'cartwheel namespace list');
      if (settings.output === 'json') await write(json(found));
      else await write(block(found));
    });
}

function addSettingOptions(command: Command): Command {
  return command
    .option('--r <n>', 'replicas that must answer a get that names no r; 0: a majority', integerBetween(0, 255))
    .option('--w <n>', 'replicas that must answer a put that names no w; 0: a majority', integerBetween(0, 255))
    .addOption(
      new Option('--durability <mode>', 'of puts and deletes that name none').choices([
        'DURABLE',
        'ONE_DURABLE',
        'BUFFERED',
      ]),
    )
    .addOption(
      new Option('--resolution <how>', 'of concurrent values; chosen once').choices(['SIBLINGS', 'LAST_WRITER_WINS']),
    )
    .option('--ttl <duration>', 'of puts that name none, such as 30m or 7d; none: values stay', ttlMs)
    .option('--strict', 'only the homes of a key take its writes: no fallbacks')
    .option('--read-all <probability>', 'of a get asking all N replicas, 0 to 1', fractionOfOne)
    .option('--losers-kept <duration>', 'how long values that lost can be listed', longDurationMs);
}

function ttlMs(text: string): number {
  if (text === 'none') return 0;
  try {
    return longDurationMs(text);
  } catch {
    throw new InvalidArgumentError(
      'Wanted a number with a unit, at most ten years, such as 500ms, 30m or 7d; or none.',
    );
  }
}

function settingsFrom(options: SettingOptions): NamespaceSettings {
  const { r, w, durability, resolution, ttl, strict, readAll, losersKept } = options;
  return { r, w, durability, resolution, ttlMs: ttl, strict, readAllProbability: readAll, losersKeptMs: losersKept };
}

async function changeWith(
  command: Command,
  verb: string,
  change: (client: CartwheelClient) => Promise<ChangedNamespace>,
): Promise<void> {
  const settings = settingsOf(command);
  const changed = await withClient(settings, change);
  if (settings.output === 'json') {
    await write(json(changed));
    return;
  }
  const { namespace, knownBy, notReached } = changed;
  const all = knownBy.length + notReached.length;
  await write(
    `${verb} ${namespace.name}, version ${namespace.version}: known to ${knownBy.length} of ${plural(all, 'storage node')}\n`,
  );
  if (notReached.length > 0) note(`not reached: ${notReached.join(' ')}; they learn it by gossip when they are back`);
}

async function show(settings: Settings, namespaces: readonly Namespace[]): Promise<void> {
  if (settings.output === 'json') await write(json(namespaces));
  else await write(table(columns, namespaces.map(cells)));
}

function cells(namespace: Namespace): string[] {
  const { name, version, r, w, durability, resolution, strict } = namespace;
  return [
    name,
    String(version),
    quorum(r),
    quorum(w),
    durability,
    resolution,
    ttl(namespace),
    strict ? 'yes' : 'no',
    String(namespace.readAllProbability),
  ];
}

function block(namespace: Namespace): string {
  const { name, version, r, w, durability, resolution, strict, readAllProbability, losersKeptMs } = namespace;
  return [
    `name         ${name}`,
    `version      ${version}`,
    `r            ${quorum(r)}`,
    `w            ${quorum(w)}`,
    `durability   ${durability}`,
    `resolution   ${resolution}`,
    `ttl          ${ttl(namespace)}`,
    `strict       ${strict ? 'yes' : 'no'}`,
    `read all     ${readAllProbability}`,
    ...(resolution === 'LAST_WRITER_WINS' ? [`losers kept  ${duration(losersKeptMs / 1_000)}`] : []),
    '',
  ].join('\n');
}

function quorum(n: number): string {
  return n === 0 ? 'majority' : String(n);
}

function ttl({ ttlMs: ms }: Namespace): string {
  return ms === 0 ? 'none' : duration(ms / 1_000);
}
