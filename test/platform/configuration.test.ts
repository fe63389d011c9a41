import assert from 'node:assert/strict';
import { hostname } from 'node:os';
import { test } from 'node:test';
import {
  address,
  addresses,
  addressForPeople,
  ConfigurationProblems,
  choice,
  duration,
  HelpRequested,
  integer,
  loadConfiguration,
  share,
  splitAddress,
  text,
  toggle,
  url,
} from '../../services/platform/configuration.ts';

const schema = {
  name: 'storage-node',
  about: 'stores replicas',
  fields: {
    listen: address({ about: 'where gRPC is served', default: '127.0.0.1:7411' }),
    seeds: addresses({ about: 'members to ask first' }),
    data: text({ about: 'its directory', example: '/var/lib/cartwheel', required: true }),
    expectedNodes: integer({ about: 'nodes of the first ring', min: 1, max: 20, default: '3' }),
    logLevel: choice(['debug', 'info'], { about: 'how much is logged', default: 'info' }),
    pause: duration({ about: 'between rounds', default: '1s' }),
    zone: text({ about: 'failure domain' }),
    verbose: toggle({ about: 'say more' }),
  },
};

function load(argv: string[], environment: Record<string, string> = {}) {
  return loadConfiguration(schema, argv, environment);
}

function problemsOf(argv: string[], environment: Record<string, string> = {}): readonly string[] {
  try {
    load(argv, environment);
  } catch (error) {
    assert.ok(error instanceof ConfigurationProblems);
    return error.problems;
  }
  return assert.fail('no problem was found');
}

test('flags come first, then variables, then defaults', () => {
  const config = load(['--data', '/d', '--expected-nodes=5'], {
    CARTWHEEL_EXPECTED_NODES: '7',
    CARTWHEEL_LOG_LEVEL: 'debug',
    CARTWHEEL_ZONE: '',
  });
  assert.deepEqual(config, {
    listen: '127.0.0.1:7411',
    seeds: [],
    data: '/d',
    expectedNodes: 5,
    logLevel: 'debug',
    pause: 1_000,
    zone: undefined,
    verbose: false,
  });
});

test('the result is frozen and typed', () => {
  const config = load(['--data=/d', '--verbose', '--pause', '1.5s', '--seeds', 'a:1, b:2,']);
  const typed: {
    readonly expectedNodes: number;
    readonly zone: string | undefined;
    readonly logLevel: 'debug' | 'info';
  } = config;
  assert.ok(Object.isFrozen(typed) && Object.isFrozen(config.seeds));
  assert.deepEqual([config.verbose, config.pause, config.seeds], [true, 1_500, ['a:1', 'b:2']]);
});

test('all problems are reported at once, each with key, value seen and example', () => {
  const problems = problemsOf(
    ['--listen', 'nowhere', '--expected-nodes', '21', '--log-level=loud', '--seeds', 'a:1,b', '--verbose=yes'],
    { CARTWHEEL_PAUSE: '5' },
  );
  assert.deepEqual(problems, [
    '--listen: wanted HOST:PORT with a port from 0 to 65535, saw "nowhere"; for example --listen 127.0.0.1:7411',
    '--seeds: wanted HOST:PORT with commas between ("b" is none), saw "a:1,b"; for example --seeds 127.0.0.1:7441,127.0.0.1:7442',
    '--data: missing (or set CARTWHEEL_DATA); for example --data /var/lib/cartwheel',
    '--expected-nodes: wanted a whole number from 1 to 20, saw "21"; for example --expected-nodes 3',
    '--log-level: wanted one of debug, info, saw "loud"; for example --log-level info',
    'CARTWHEEL_PAUSE: wanted a duration with its unit (ms, s, m, h), at most ten years (87840h), saw "5"; for example CARTWHEEL_PAUSE=1s',
    '--verbose: wanted true or false, saw "yes"; for example --verbose=true',
  ]);
});

test('a duration is of whole milliseconds, 0 only where it says so, and of ten years at most', () => {
  const pauseMs = (pause: string) => loadConfiguration(schema, ['--data', 'd', '--pause', pause], {}).pause;
  for (const [text, ms] of [
    ['0s', 0],
    ['0.0001ms', 1],
    ['1.0006s', 1_001],
    ['720h', 720 * 3_600_000],
    ['87840h', 87_840 * 3_600_000],
  ] as const) {
    assert.equal(pauseMs(text), ms, text);
  }
  for (const text of ['87841h', '999999999h']) {
    assert.throws(
      () => pauseMs(text),
      /--pause: wanted a duration with its unit .*, at most ten years \(87840h\), saw/,
    );
  }
});

test('a share is a number from 0 to 1, and a URL is one of the web', () => {
  const { fields } = { fields: { ratio: share({ about: 'part of them' }), collector: url({ about: 'where to' }) } };
  const seen = (flag: string, value: string) => {
    try {
      return loadConfiguration({ name: 'router', about: '', fields }, [flag, value], {});
    } catch (error) {
      return (error as ConfigurationProblems).problems;
    }
  };
  for (const [value, is] of [
    ['0', 0],
    ['1', 1],
    ['0.25', 0.25],
    ['.5', 0.5],
    ['1e-05', 0.00001],
  ] as const) {
    assert.deepEqual(seen('--ratio', value), { ratio: is, collector: undefined });
  }
  for (const value of ['1.1', '-0.1', 'half', '1%', '', '0x1', 'NaN']) {
    assert.deepEqual(seen('--ratio', value), [
      `--ratio: wanted a number from 0 to 1, saw ${JSON.stringify(value)}; for example --ratio 0.05`,
    ]);
  }
  assert.deepEqual(seen('--collector', 'https://a.example:4318/otlp'), {
    ratio: undefined,
    collector: 'https://a.example:4318/otlp',
  });
  for (const value of ['collector:4318', 'grpc://collector:4317', 'http://', 'http://user@host', 'http://host?x', '']) {
    assert.deepEqual(seen('--collector', value), [
      `--collector: wanted a URL that begins with http:// or https://, saw ${JSON.stringify(value)}; for example --collector http://127.0.0.1:4318`,
    ]);
  }
});

test('an unknown flag is a problem, with the nearest known one as a hint', () => {
  assert.deepEqual(problemsOf(['--data', '/d', '--expectd-nodes', '5']), [
    '--expectd-nodes: no such flag; did you mean --expected-nodes?',
  ]);
  assert.deepEqual(problemsOf(['--data=/d', '--frobnicate=1']), ['--frobnicate: no such flag; see --help']);
  assert.deepEqual(problemsOf(['--data=/d', 'stray']), ['"stray": not a flag; flags begin with --']);
});

test('a flag without a value, or given twice, is a problem', () => {
  assert.deepEqual(problemsOf(['--data', '--verbose']), [
    '--data: no value follows it; for example --data /var/lib/cartwheel',
  ]);
  assert.deepEqual(problemsOf(['--data=a', '--data=b']), ['--data: given twice ("a" and "b")']);
});

test('--help shows every flag with its variable, default and meaning', () => {
  assert.throws(
    () => load(['--nonsense', '--help']),
    (error: unknown) => {
      assert.ok(error instanceof HelpRequested);
      assert.match(error.text, /^storage-node: stores replicas\n/);
      assert.match(
        error.text,
        / {2}--expected-nodes NUMBER +nodes of the first ring \(default 3; CARTWHEEL_EXPECTED_NODES\)/,
      );
      assert.match(error.text, / {2}--data TEXT +its directory \(required; CARTWHEEL_DATA\)/);
      return true;
    },
  );
});

test('numbers are whole, decimal and in range, or they are refused', () => {
  for (const seen of ['3.5', '1e1', '0x3', '', ' 3', '99999999999999999999', 'NaN']) {
    assert.equal(problemsOf(['--data=/d', `--expected-nodes=${seen}`]).length, 1, seen);
  }
});

test('addresses split into host and port, IPv6 in brackets', () => {
  assert.deepEqual(splitAddress('[::1]:80'), { host: '::1', port: 80 });
  assert.deepEqual(splitAddress('node-0.svc:7411'), { host: 'node-0.svc', port: 7411 });
  for (const wrong of ['::1:80', 'a', ':80', 'a:', 'a:65536', 'a:-1', 'http://a:80', 'a b:1', 'a:1/']) {
    assert.equal(splitAddress(wrong), undefined, wrong);
  }
});

test('where a process listens at every address, people know it by the name of the machine', () => {
  assert.equal(addressForPeople('127.0.0.1:7400'), '127.0.0.1:7400');
  for (const listen of ['0.0.0.0:7400', '[::]:7400']) assert.equal(addressForPeople(listen), `${hostname()}:7400`);
});
