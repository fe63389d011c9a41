/** The README of the chart: every value, explained. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { chartReadme } from '../../helm/generate/readme.ts';
import { valuesOf } from '../../helm/generate/values.ts';
import { readConfig as readMembershipConfig } from '../../services/membership/config.ts';
import { readConfig as readRouterConfig } from '../../services/router/config.ts';
import { readConfig as readStorageConfig } from '../../services/storage-node/config.ts';
import { chart } from './tools.ts';

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly definitions?: Readonly<Record<string, Schema>>;
  readonly properties?: Readonly<Record<string, Schema | false>>;
}

const yaml = readFileSync(join(chart, 'values.yaml'), 'utf8');
const values = valuesOf(yaml).filter(({ value }) => value !== undefined);

test('every value is in the README of the chart, with its default and what it means', () => {
  const rows = [...readFileSync(join(chart, 'README.md'), 'utf8').matchAll(/^\| `([\w.]+)` \| `(.+)` \| (.*) \|$/gm)];
  assert.deepEqual(
    rows.map(([, path, value]) => [path, value]),
    values.map(({ path, value }) => [path, value]),
  );
  for (const [, path, , meaning = ''] of rows) assert.match(meaning, /\S.*\.$/, path);
});

test('every value is in the schema', () => {
  const schema: Schema = JSON.parse(readFileSync(join(chart, 'values.schema.json'), 'utf8'));
  const referred = (at: Schema | undefined) =>
    at?.$ref === undefined ? at : schema.definitions?.[at.$ref.slice('#/definitions/'.length)];
  for (const { path } of values) {
    const found = path
      .split('.')
      .reduce<Schema | undefined>((at, key) => referred(at)?.properties?.[key] || undefined, schema);
    assert.ok(found !== undefined, `${path} is not in values.schema.json`);
  }
});

test('the schema knows the flags of each process, all of them and no other', () => {
  const schema: Schema = JSON.parse(readFileSync(join(chart, 'values.schema.json'), 'utf8'));
  for (const [component, readConfig] of [
    ['storage', readStorageConfig],
    ['router', readRouterConfig],
    ['membership', readMembershipConfig],
  ] as const) {
    const of = schema.properties?.[component] as Schema;
    const { properties } = of.properties?.config as Schema;
    assert.throws(
      () => readConfig(['--help'], {}),
      (help: { text: string }) => {
        const flags = [...help.text.matchAll(/^ +--([a-z-]+)/gm)]
          .map(([, flag]) => flag)
          .filter((flag) => flag !== 'help');
        assert.deepEqual(Object.keys(properties ?? {}).sort(), flags.sort(), component);
        return true;
      },
    );
  }
});

/** Where Kubernetes' own objects begin, which the API server checks; and what helm gives to charts inside charts. */
const open = [
  /^global$/,
  /affinity\.(node|pod|podAnti)Affinity$/i,
  /(label|pod|namespace)Selector$/,
  /valueFrom\.\w+$/,
];

test('the schema is closed at every level', () => {
  const walk = (at: Schema | false, path: string): void => {
    if (at === false || open.some((pattern) => pattern.test(path))) return;
    if (at.type === 'object') assert.notEqual(at.additionalProperties ?? true, true, path);
    if (at.type === 'array') assert.ok(at.items !== undefined, path);
    const below = { ...at.definitions, ...at.properties, ...(at.items && { items: at.items }) };
    for (const [key, each] of Object.entries(below)) walk(each, path === '' ? key : `${path}.${key}`);
  };
  walk(JSON.parse(readFileSync(join(chart, 'values.schema.json'), 'utf8')), '');
});

test('a value is explained by its comment, by what it is a part of, or by the same value of a storage node', () => {
  const readme = chartReadme(`# Head.

# Storage.
storage:
  # Memory and time.
  resources:
    limits: { memory: 1Gi }
  # More
  # than one line, with a | in it.
  zone: ""

router:
  resources:
    limits: {}
  port: 1
`);
  assert.match(readme, /## storage\n\nStorage\.\n/);
  assert.match(readme, /\| `storage\.resources\.limits` \| `{ memory: 1Gi }` \| Memory and time\. \|/);
  assert.match(readme, /\| `storage\.zone` \| `""` \| More than one line, with a \\\| in it\. \|/);
  assert.match(readme, /\| `router\.resources\.limits` \| `{}` \| As `storage\.resources\.limits`\. \|/);
  assert.match(readme, /\| `router\.port` \| `1` \| {2}\|/);
});

test('what is not kept as this reads it is an error that names the line', () => {
  assert.throws(() => valuesOf('a:\n   b: 1\n'), /line 2/);
  assert.throws(() => valuesOf('a:\n  - b\n'), /line 2/);
  assert.throws(() => valuesOf('a:\n    b: 1\n'), /line 2/);
});
