/** Gossip of several processes in this one, on a clock that the test moves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Member } from '../../services/core/membership/member.ts';
import { firstClaim } from '../../services/core/ring/claim.ts';
import { createRing, type Ring } from '../../services/core/ring/ring.ts';
import {
  createGossip,
  type Gossip,
  type GossipOptions,
  type GossipTransport,
} from '../../services/platform/gossip/gossip.ts';
import { decodeRemembered, encodeRemembered } from '../../services/platform/gossip/remembered.ts';
import { createManualClock } from '../core/manual-clock.ts';
import { seededRandom } from '../sim/random.ts';
import { createReadableMetrics } from '../storage-node/metrics.ts';
import { recordingLog, silentLog } from './recording-log.ts';

/** Between two steps of the clock everything happens that needs no time. */
const stepMs = 10;

/** A transport that hands calls over in this process. */
function createNetwork() {
  const processes = new Map<string, Gossip>();
  const transport: GossipTransport = {
    async exchange(address, request) {
      const process = processes.get(address);
      if (process === undefined) throw new Error(`nobody listens on ${address}`);
      return process.handle(request);
    },
  };
  return { processes, transport };
}

function ringOf(sequence: bigint, ids: readonly string[]): Ring {
  const nodes = ids.map((id, index) => ({ index, ...selfOf(id), status: 'UP' as const }));
  const shape = { partitions: 8, replicas: 1 };
  const owners = firstClaim({ nodes, ...shape });
  return createRing({ version: { term: 1n, sequence }, ...shape, nodes, owners, pending: new Map() });
}

function selfOf(id: string): Pick<Member, 'id' | 'address' | 'host' | 'zone'> {
  return { id, address: `${id}:7411`, host: id, zone: 'z' };
}

function setUp() {
  const clock = createManualClock();
  const network = createNetwork();
  let started = 0;
  async function start(address: string, options: Partial<GossipOptions> = {}): Promise<Gossip> {
    started += 1;
    const gossip = await createGossip({
      seeds: ['seed:7441'],
      clock,
      random: seededRandom(started),
      transport: network.transport,
      log: silentLog,
      metrics: createReadableMetrics(),
      ...options,
    });
    network.processes.set(address, gossip);
    return gossip;
  }
  async function advance(ms: number): Promise<void> {
    await nextTurn();
    for (let passed = 0; passed < ms; passed += stepMs) {
      clock.advance(stepMs);
      await nextTurn();
    }
  }
  const startNode = (id: string, options: Partial<GossipOptions> = {}) =>
    start(`${id}:7411`, { self: selfOf(id), ...options });
  return { advance, clock, network, start, startNode };
}

test('nodes that know one seed soon know each other, and the ring that is issued', async () => {
  const { advance, start, startNode } = setUp();
  const seed = await start('seed:7441');
  const ids = Array.from({ length: 12 }, (_, i) => `n${i}`);
  const nodes = await Promise.all(ids.map((id) => startNode(id)));
  await advance(10_000);
  for (const node of nodes) assert.equal(node.state().members.size, 12);
  await seed.issue(ringOf(1n, ids), 'c1');
  await advance(10_000);
  for (const node of nodes) {
    assert.deepEqual(node.state().ring?.version, { term: 1n, sequence: 1n });
    assert.equal(node.state().clusterId, 'c1');
    assert.deepEqual(new Set([...node.state().members.values()].map(({ status }) => status)), new Set(['UP']));
  }
});

test('a node that starts before its seed finds it within a second of its start', async () => {
  const { advance, start, startNode } = setUp();
  const metrics = createReadableMetrics();
  const node = await startNode('a', { metrics });
  await advance(5_000);
  assert.ok(metrics.valueOf('cartwheel_gossip_failures_total') > 5);
  await startNode('b');
  await start('seed:7441');
  await advance(1_000);
  assert.deepEqual([...node.state().members.keys()].sort(), ['a', 'b']);
});

test('the ring spreads on when the seed is gone', async () => {
  const { advance, network, start, startNode } = setUp();
  const seed = await start('seed:7441');
  const first = await startNode('a');
  await advance(1_000);
  await seed.issue(ringOf(1n, ['a']), 'c1');
  await advance(2_000);
  const late = await startNode('b', { seeds: ['a:7411'] });
  network.processes.delete('seed:7441');
  await advance(2_000);
  assert.deepEqual(late.state().ring?.version, first.state().ring?.version);
});

test('halves that do not know of each other meet at a seed', async () => {
  const { advance, start, startNode } = setUp();
  const left = await startNode('a', { seeds: ['b:7411', 'seed:7441'] });
  await startNode('b', { seeds: ['a:7411', 'seed:7441'] });
  const right = await startNode('c', { seeds: ['d:7411', 'seed:7441'] });
  await startNode('d', { seeds: ['c:7411', 'seed:7441'] });
  await start('seed:7441', { seeds: [] });
  await advance(60_000);
  assert.equal(left.state().members.size, 4);
  assert.equal(right.state().members.size, 4);
});

test('with all seeds gone everybody goes on, and one that comes back without a memory is told everything', async () => {
  const { advance, network, start, startNode } = setUp();
  const seeds = ['seed-1:7441', 'seed-2:7441'];
  const first = await start('seed-1:7441', { seeds: ['seed-2:7441'] });
  const second = await start('seed-2:7441', { seeds: ['seed-1:7441'] });
  const nodes: Gossip[] = [];
  for (const id of ['a', 'b', 'c']) nodes.push(await startNode(id, { seeds }));
  await advance(3_000);
  await first.issue(ringOf(1n, ['a', 'b', 'c']), 'c1');
  await advance(5_000);
  for (const [address, seed] of [
    ['seed-1:7441', first],
    ['seed-2:7441', second],
  ] as const) {
    network.processes.delete(address);
    await seed.stop();
  }
  await advance(60_000);
  // Who starts in the outage is told by nobody where the others are, and is not told that it is in a cluster.
  const late = await startNode('late', { seeds });
  await advance(10_000);
  assert.equal(late.state().ring, undefined);
  const back = await start('seed-2:7441', { seeds: ['seed-1:7441'] });
  await advance(60_000);
  for (const each of [...nodes, late, back]) {
    assert.deepEqual([...each.state().members.keys()].sort(), ['a', 'b', 'c', 'late']);
    assert.deepEqual(each.state().ring?.version, { term: 1n, sequence: 1n });
    assert.equal(each.state().clusterId, 'c1');
  }
});

test('halves that met different seeds and went on by different rings end with the newer one when they meet', async () => {
  const { advance, network, start } = setUp();
  /** Those of one half reach nobody in the other while they are apart. */
  let isApart = true;
  const halfOf = (address: string) => (/^(seed-1|a|b):/.test(address) ? 1 : 2);
  const startIn = (address: string, options: Partial<GossipOptions> = {}) => {
    const transport: GossipTransport = {
      async exchange(to, request, timeoutMs) {
        if (isApart && halfOf(to) !== halfOf(address)) throw new Error('no route');
        return network.transport.exchange(to, request, timeoutMs);
      },
    };
    return start(address, { seeds: ['seed-1:7441', 'seed-2:7441'], transport, ...options });
  };
  const claimant = await startIn('seed-1:7441');
  const seed = await startIn('seed-2:7441');
  const nodes: Gossip[] = [];
  for (const id of ['a', 'b', 'c', 'd']) nodes.push(await startIn(`${id}:7411`, { self: selfOf(id) }));
  await advance(20_000);
  const known = (gossip: Gossip) => [...gossip.state().members.keys()].sort().join();
  assert.deepEqual([claimant, seed, ...nodes].map(known), ['a,b', 'c,d', 'a,b', 'a,b', 'c,d', 'c,d']);
  await claimant.issue(ringOf(1n, ['a', 'b']), 'c1');
  await advance(20_000);
  assert.equal(seed.state().ring, undefined);
  isApart = false;
  await advance(60_000);
  await claimant.issue(ringOf(2n, ['a', 'b', 'c', 'd']), 'c1');
  await advance(20_000);
  isApart = true;
  await claimant.issue(ringOf(3n, ['d', 'c', 'b', 'a']), 'c1');
  await advance(60_000);
  const sequences = () => [claimant, seed, ...nodes].map((each) => Number(each.state().ring?.version.sequence));
  assert.deepEqual(sequences(), [3, 2, 3, 3, 2, 2]);
  isApart = false;
  await advance(60_000);
  assert.deepEqual(sequences(), [3, 3, 3, 3, 3, 3]);
  assert.deepEqual([claimant, seed, ...nodes].map(known), Array(6).fill('a,b,c,d'));
  for (const each of [claimant, seed, ...nodes]) {
    const { ringConflicts } = each.state().counts;
    assert.equal(ringConflicts, 0);
  }
});

/** A cluster of three, one of whom stops with what it remembers; then everybody else is made anew, elsewhere. */
async function setUpReturn() {
  const at = setUp();
  const { advance, network, start, startNode } = at;
  const seed = await start('seed:7441');
  const kept = new Map<string, Uint8Array>();
  const keep = (id: string) => ({
    persist: async (bytes: Uint8Array) => {
      kept.set(id, bytes);
    },
  });
  const nodes = new Map<string, Gossip>();
  for (const id of ['a', 'b', 'c']) nodes.set(id, await startNode(id, keep(id)));
  await advance(3_000);
  await seed.issue(ringOf(1n, ['a', 'b', 'c']), 'c1');
  await advance(10_000);
  async function end(id: string): Promise<void> {
    await nodes.get(id)?.stop();
    network.processes.delete(`${id}:7411`);
  }
  await end('c');
  const memory = kept.get('c') as Uint8Array;
  for (const id of ['a', 'b']) {
    await end(id);
    const self = { ...selfOf(id), address: `${id}-moved:7411` };
    const moved = await start(self.address, { self, remembered: kept.get(id), ...keep(id) });
    nodes.set(id, moved);
  }
  return { ...at, seed, nodes, memory };
}

const dayMs = 24 * 60 * 60 * 1_000;

test('a node back after a day, when nobody is where it knew them, is told all by a seed at once, and goes back to nothing old', async () => {
  const { advance, clock, start, seed, nodes, memory } = await setUpReturn();
  clock.jump(dayMs);
  await advance(10_000);
  for (let sequence = 2n; sequence < 40n; sequence++) await seed.issue(ringOf(sequence, ['a', 'b', 'c']), 'c1');
  await advance(10_000);
  const rings: bigint[] = [];
  // It has moved as well: nobody finds it before it has found somebody.
  const back = await start('c-moved:7411', {
    self: { ...selfOf('c'), address: 'c-moved:7411' },
    remembered: memory,
    onRing: (ring) => rings.push(ring.version.sequence),
  });
  await advance(stepMs);
  assert.deepEqual(rings, [1n, 39n]);
  await advance(60_000);
  const addresses = (gossip: Gossip) => [...gossip.state().members.values()].map(({ address }) => address).sort();
  for (const each of [back, seed, ...[...nodes.values()].slice(0, 2)]) {
    assert.deepEqual(addresses(each), ['a-moved:7411', 'b-moved:7411', 'c-moved:7411']);
    assert.equal(each.state().ring?.version.sequence, 39n);
  }
  // What it had to say of the others was old, and nobody has taken it.
  assert.equal(back.state().self?.isRestored, false);
  assert.equal(seed.state().counts.ringConflicts, 0);
});

test('a node back after a day in which it was removed is LEFT, and forgotten, and trusts nothing of its disk', async () => {
  const { advance, clock, startNode, seed, nodes, memory } = await setUpReturn();
  clock.jump(dayMs);
  const removed = ringOf(2n, ['a', 'b', 'c']);
  const without = removed.nodes.map((node) => (node.id === 'c' ? { ...node, status: 'LEFT' as const } : node));
  await seed.issue(createRing({ ...removed, nodes: without, owners: removed.owners.map((owner) => owner % 2) }), 'c1');
  await advance(10_000);
  let isConfirmed = false;
  const onConfirmed = () => {
    isConfirmed = true;
  };
  const back = await startNode('c', { remembered: memory, onConfirmed });
  await advance(60_000);
  for (const each of [back, seed, ...[...nodes.values()].slice(0, 2)]) {
    assert.equal(each.state().members.get('c')?.status, each === back ? 'LEFT' : undefined);
    assert.equal(each.state().ring?.version.sequence, 2n);
  }
  // Nobody can say any more whether its disk is an old image.
  assert.equal(isConfirmed, false);
});

test('a node of another cluster, or of other settings, is refused by everybody, who say so once, and is told why', async () => {
  const { advance, start, startNode } = setUp();
  const seedLog = recordingLog();
  const seed = await start('seed:7441', { log: seedLog });
  await startNode('a');
  await advance(1_000);
  await seed.issue(ringOf(1n, ['a']), 'ours');
  await advance(2_000);
  const elsewhere = { clusterId: 'theirs', members: new Map(), ring: ringOf(7n, ['x']), namespaces: new Map() };
  const log = recordingLog();
  const metrics = createReadableMetrics();
  const stranger = await startNode('x', { remembered: encodeRemembered(elsewhere), log, metrics });
  const settings = new Map([['levels of a digest tree', '8']]);
  const other = await startNode('y', { settings });
  await advance(60_000);
  assert.equal(stranger.refusal(), 'seed:7441: the other process is of cluster theirs, and this one of cluster ours');
  assert.equal(other.refusal(), 'seed:7441: other settings: levels of a digest tree: "8" there, "20" here');
  assert.equal(seed.refusal(), undefined);
  assert.deepEqual([...seed.state().members.keys()], ['a']);
  assert.equal(seed.state().ring?.version.sequence, 1n);
  assert.equal(stranger.state().ring?.version.sequence, 7n);
  assert.equal(other.state().clusterId, '');
  const refusals = ({ lines }: typeof log) =>
    lines.filter(({ message }) => message === 'a handshake of gossip was refused');
  assert.deepEqual(
    refusals(log).map(({ fields }) => [fields.other, fields.by]),
    [['seed:7441', 'the other one']],
  );
  assert.deepEqual(
    refusals(seedLog).map(({ fields }) => fields.other),
    ['x', 'y'],
  );
  assert.ok(metrics.valueOf('cartwheel_handshakes_refused_total') > 20);
});

test('a node says nothing before its incarnation is durable', async () => {
  const { advance, start } = setUp();
  let heard = 0;
  let release = () => {};
  const transport: GossipTransport = {
    async exchange() {
      heard += 1;
      throw new Error('down');
    },
  };
  const persist = () => new Promise<void>((resolve) => (release = resolve));
  const starting = start('a:7411', { self: selfOf('a'), transport, persist });
  await advance(5_000);
  assert.equal(heard, 0);
  release();
  await starting;
  await advance(1_000);
  assert.ok(heard > 0);
});

test('an issued ring is known to nobody before it is durable, and never where that fails', async () => {
  const { start } = setUp();
  let isDiskFull = false;
  const seed = await start('seed:7441', {
    persist: async () => {
      if (isDiskFull) throw new Error('ENOSPC');
    },
  });
  isDiskFull = true;
  await assert.rejects(seed.issue(ringOf(1n, ['a']), 'c1'), /ENOSPC/);
  assert.equal(seed.state().ring, undefined);
  assert.equal(seed.state().clusterId, '');
  isDiskFull = false;
  await seed.issue(ringOf(1n, ['a']), 'c1');
  assert.deepEqual(seed.state().ring?.version, { term: 1n, sequence: 1n });
});

test('what is remembered after a write always holds the ring that was issued before it', async () => {
  const { advance, start, startNode } = setUp();
  let kept: Uint8Array | undefined;
  const seed = await start('seed:7441', {
    persist: async (bytes) => {
      await new Promise<void>((resolve) => setImmediate(resolve));
      kept = bytes;
    },
  });
  const issuing = seed.issue(ringOf(1n, ['a']), 'c1');
  await startNode('a');
  await advance(200);
  await issuing;
  await advance(2_000);
  assert.deepEqual(decodeRemembered(kept).ring?.version, { term: 1n, sequence: 1n });
  assert.deepEqual(
    decodeRemembered(kept).members.map(({ id }) => id),
    ['a'],
  );
});

test('a process that starts again goes over to the ring it remembers at once', async () => {
  const { start } = setUp();
  let kept: Uint8Array | undefined;
  const persist = async (bytes: Uint8Array) => {
    kept = bytes;
  };
  const seed = await start('seed:7441', { persist });
  await seed.issue(ringOf(4n, ['a']), 'c1');
  await seed.stop();
  const rings: [bigint, string][] = [];
  await start('seed:7441', { remembered: kept, onRing: (ring, id) => rings.push([ring.version.sequence, id]) });
  assert.deepEqual(rings, [[4n, 'c1']]);
});

test('a node that was restored from an old image is told so, once', async () => {
  const { advance, start, startNode } = setUp();
  await start('seed:7441');
  let image: Uint8Array | undefined;
  const first = await startNode('a', {
    persist: async (bytes) => {
      image = bytes;
    },
  });
  await advance(500);
  await first.stop();
  let told = 0;
  let confirmed = 0;
  const hooks = { onRestored: () => (told += 1), onConfirmed: () => (confirmed += 1) };
  const again = await startNode('a', { remembered: image, ...hooks });
  await advance(3_000);
  await again.stop();
  assert.deepEqual([told, confirmed], [0, 1]);
  const restored = await startNode('a', { remembered: image, ...hooks });
  await advance(20_000);
  await restored.stop();
  assert.deepEqual([told, confirmed], [1, 1]);
});

test('a node that nobody answers is not confirmed, and asks again soon', async () => {
  const { advance, start, startNode } = setUp();
  let confirmed = 0;
  const node = await startNode('a', { onConfirmed: () => (confirmed += 1) });
  await advance(10_000);
  assert.equal(confirmed, 0);
  await start('seed:7441');
  await advance(1_500);
  assert.equal(confirmed, 1);
  await node.stop();
});

test('nothing is called after a stop', async () => {
  const { advance, network, start } = setUp();
  let calls = 0;
  await start('seed:7441');
  const transport: GossipTransport = {
    exchange(address, request, timeoutMs) {
      calls += 1;
      return network.transport.exchange(address, request, timeoutMs);
    },
  };
  const gossip = await start('a:7411', { self: selfOf('a'), transport });
  await advance(3_000);
  await gossip.stop();
  const before = calls;
  await advance(10_000);
  assert.equal(calls, before);
});

test('a damaged memory, and one of a newer format, are refused with what was seen', async () => {
  const { start } = setUp();
  const seed = await start('seed:7441');
  await seed.issue(ringOf(1n, ['a']), 'c1');
  const bytes = encodeRemembered(seed.state());
  for (const at of [1, 5, bytes.length - 1]) {
    const damaged = Uint8Array.from(bytes);
    damaged[at] = (damaged[at] as number) ^ 1;
    assert.throws(() => decodeRemembered(damaged), /damaged: checksum \d+ stored, \d+ computed/);
  }
  const newer = Uint8Array.from(bytes);
  newer[0] = 2;
  assert.throws(() => decodeRemembered(newer), /format 2, and this build knows 1/);
  assert.throws(() => decodeRemembered(bytes.subarray(0, 3)), /only 3 bytes/);
});
