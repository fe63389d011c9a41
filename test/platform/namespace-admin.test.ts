/** Creating and altering namespaces on processes that gossip with each other in this process. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NamespaceSettings } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { Failure } from '../../services/core/failure.ts';
import { builtInNamespace, namespacesMax } from '../../services/core/namespaces/namespace.ts';
import { firstClaim } from '../../services/core/ring/claim.ts';
import { createRing } from '../../services/core/ring/ring.ts';
import { createGossip, type Gossip } from '../../services/platform/gossip/gossip.ts';
import { encodeRemembered } from '../../services/platform/gossip/remembered.ts';
import { createNamespaceAdmin, type NamespaceAdmin } from '../../services/platform/namespaces/namespace-admin.ts';
import { createManualClock } from '../core/manual-clock.ts';
import { silentLog } from './recording-log.ts';

interface Node {
  readonly id: string;
  readonly gossip: Gossip;
  readonly admin: NamespaceAdmin;
  /** What it would find after a restart. */
  remembered(): Uint8Array | undefined;
  isAway: boolean;
}

const noHandle = { observe() {} };
const uncounted = {
  histogram: () => noHandle,
  sizes: () => noHandle,
  counter: () => ({ add() {} }),
  gauge() {},
  gauges() {},
};
const settings = (changes: Parameters<typeof NamespaceSettings.fromPartial>[0]) =>
  NamespaceSettings.fromPartial(changes);

/** Nodes that all know each other and a ring; no round of the loop happens unless the clock moves, which it does not. */
async function setUp(count = 3) {
  const clock = createManualClock();
  const ids = Array.from({ length: count }, (_, i) => `n${i}`);
  const nodes: Node[] = [];
  const members = ids.map((id) => {
    return { id, address: `${id}:1`, host: id, zone: 'z', incarnation: 1n, status: 'UP' as const };
  });
  const ring = createRing({
    version: { term: 1n, sequence: 1n },
    partitions: 8,
    replicas: count,
    nodes: members.map(({ incarnation: _, ...node }, index) => ({ ...node, index })),
    owners: firstClaim({ nodes: members, partitions: 8, replicas: count }),
    pending: new Map(),
  });

  async function start(id: string, bytes?: Uint8Array): Promise<Node> {
    let kept = bytes;
    const gossip = await createGossip({
      self: { id, address: `${id}:1`, host: id, zone: 'z' },
      seeds: ids.map((other) => `${other}:1`).filter((address) => address !== `${id}:1`),
      clock,
      random: { u64: () => 1n, below: () => 1 },
      log: silentLog,
      metrics: uncounted,
      remembered: bytes,
      persist: async (next) => {
        kept = next;
      },
      transport: {
        async exchange(address, request) {
          await new Promise(setImmediate);
          const to = nodes.find((node) => `${node.id}:1` === address);
          if (to === undefined || to.isAway) throw new Error(`nobody listens on ${address}`);
          return to.gossip.handle(request);
        },
      },
    });
    return { id, gossip, admin: createNamespaceAdmin(gossip), remembered: () => kept, isAway: false };
  }

  const byId = new Map(members.map((member) => [member.id, member]));
  const memory = encodeRemembered({ clusterId: 'c1', members: byId, ring, namespaces: new Map() });
  for (const id of ids) nodes.push(await start(id, memory));
  return { nodes, start, node: (i: number) => nodes[i] as Node };
}

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  const failure = await promise.then(
    () => assert.fail('a failure was expected'),
    (error: unknown) => error,
  );
  assert.ok(failure instanceof Failure, `${failure}`);
  return failure;
}

test('a namespace is known everywhere when its creation is answered, and on the disk of the one that was asked', async () => {
  const { nodes, node, start } = await setUp();
  const { namespace, spread } = await node(1).admin.create({ name: 'carts', settings: settings({ r: 1, w: 3 }) });
  assert.deepEqual([namespace?.name, namespace?.version, namespace?.r, namespace?.w], ['carts', 1, 1, 3]);
  assert.deepEqual(spread, { knownBy: ['n1', 'n0', 'n2'], notReached: [] });
  for (const { gossip } of nodes) assert.equal(gossip.state().namespaces.get('carts')?.w, 3);
  const again = await start('n1', node(1).remembered());
  assert.equal(again.gossip.state().namespaces.get('carts')?.w, 3);
});

test('who could not be reached is named, and learns it when it is back', async () => {
  const { node } = await setUp();
  node(2).isAway = true;
  const { spread } = await node(0).admin.create({ name: 'carts', settings: undefined });
  assert.deepEqual(spread, { knownBy: ['n0', 'n1'], notReached: ['n2'] });
  assert.equal(node(2).gossip.state().namespaces.size, 0);
  node(2).isAway = false;
  await node(2).gossip.reachAll();
  assert.equal(node(2).gossip.state().namespaces.get('carts')?.version, 1);
});

test('the same creation twice is one; another one of that name is refused', async () => {
  const { node } = await setUp();
  const first = await node(0).admin.create({ name: 'carts', settings: settings({ r: 1 }) });
  assert.deepEqual(
    (await node(2).admin.create({ name: 'carts', settings: settings({ r: 1 }) })).namespace,
    first.namespace,
  );
  assert.equal(
    (await failureOf(node(2).admin.create({ name: 'carts', settings: settings({ r: 2 }) }))).reason,
    'NAMESPACE_EXISTS',
  );
  assert.equal(
    (await failureOf(node(0).admin.create({ name: 'default', settings: settings({ r: 1 }) }))).reason,
    'NAMESPACE_EXISTS',
  );
});

test('an alteration begins from what others know, even where this node had missed it', async () => {
  const { node } = await setUp();
  node(2).isAway = true;
  await node(0).admin.create({ name: 'carts', settings: settings({ r: 1 }) });
  node(2).isAway = false;
  const { namespace } = await node(2).admin.alter({ name: 'carts', settings: settings({ w: 3 }) });
  assert.deepEqual([namespace?.version, namespace?.r, namespace?.w], [2, 1, 3]);
  assert.equal(node(1).gossip.state().namespaces.get('carts')?.version, 2);
  const same = await node(1).admin.alter({ name: 'carts', settings: settings({ w: 3 }) });
  assert.equal(same.namespace?.version, 2, 'nothing to change makes no version');
});

test('an alteration of what is not there, or of another version than expected, is refused', async () => {
  const { node } = await setUp();
  assert.equal(
    (await failureOf(node(0).admin.alter({ name: 'carts', settings: undefined }))).reason,
    'NAMESPACE_UNKNOWN',
  );
  const altered = await node(0).admin.alter({ name: 'default', settings: settings({ r: 1 }), expectedVersion: 0 });
  assert.equal(altered.namespace?.version, 1);
  const failure = await failureOf(
    node(1).admin.alter({ name: 'default', settings: settings({ r: 2 }), expectedVersion: 0 }),
  );
  assert.equal(failure.reason, 'NAMESPACE_CONFLICT');
  assert.match(failure.message, /version 1, and 0 was expected/);
});

test('two alterations at once on one node follow each other', async () => {
  const { node } = await setUp();
  await node(0).admin.create({ name: 'carts', settings: undefined });
  await Promise.all([
    node(0).admin.alter({ name: 'carts', settings: settings({ r: 1 }) }),
    node(0).admin.alter({ name: 'carts', settings: settings({ w: 3 }) }),
  ]);
  const { version, r, w } = node(1).gossip.state().namespaces.get('carts') ?? builtInNamespace;
  assert.deepEqual([version, r, w], [3, 1, 3]);
});

test('of two alterations at once on two nodes one wins everywhere, and the other is told', async () => {
  const { nodes, node } = await setUp();
  await node(0).admin.create({ name: 'carts', settings: undefined });
  const outcomes = await Promise.allSettled([
    node(0).admin.alter({ name: 'carts', settings: settings({ r: 1 }) }),
    node(1).admin.alter({ name: 'carts', settings: settings({ r: 3 }) }),
  ]);
  const failed = outcomes.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[];
  assert.deepEqual(
    failed.map(({ reason }) => (reason as Failure).reason),
    ['NAMESPACE_CONFLICT'],
  );
  assert.equal((failed[0]?.reason as Failure).outcome, 'UNKNOWN');
  assert.equal(new Set(nodes.map(({ gossip }) => gossip.state().namespaces.get('carts')?.r)).size, 1);
});

test('beyond the limit nothing is created', async () => {
  const { node } = await setUp();
  for (let i = 0; i < namespacesMax; i++) {
    await node(0).gossip.issueNamespace({ ...builtInNamespace, name: `n${i}`, version: 1 });
  }
  assert.equal((await failureOf(node(0).admin.create({ name: 'more', settings: undefined }))).reason, 'OVERLOADED');
  assert.equal((await node(0).admin.list()).namespaces.length, namespacesMax + 1);
});

test('without a ring there is no N, and nothing can be created', async () => {
  const { start } = await setUp();
  const stranger = await start('n9');
  assert.equal((await failureOf(stranger.admin.create({ name: 'carts', settings: undefined }))).reason, 'NO_RING');
});
