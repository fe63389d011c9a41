import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ClaimNode, firstClaim } from '../../services/core/ring/claim.ts';
import { type ChangedClaim, changeClaim } from '../../services/core/ring/claim-change.ts';
import { spreadOf } from '../../services/core/ring/claim-spread.ts';

/** A cluster whose nodes came one by one; those that left keep their index. */
interface Cluster {
  nodes: ClaimNode[];
  wanted: number[];
  readonly hosts: number;
  readonly zones: number;
}

function clusterOf(size: number, hosts: number, zones: number): Cluster {
  const cluster: Cluster = { nodes: [], wanted: [], hosts, zones };
  for (let i = 0; i < size; i++) join(cluster);
  return cluster;
}

function join(cluster: Cluster): void {
  const index = cluster.nodes.length;
  const host = index % cluster.hosts;
  cluster.nodes.push({ id: `node-${index}`, host: `host-${host}`, zone: `zone-${host % cluster.zones}` });
  cluster.wanted.push(index);
}

function leave(cluster: Cluster, seed: number): void {
  cluster.wanted.splice(seed % cluster.wanted.length, 1);
}

interface Change {
  readonly joins: number;
  readonly leaves: readonly number[];
}

const anyChanges = fc.array(
  fc.record({ joins: fc.integer({ min: 0, max: 8 }), leaves: fc.array(fc.nat(), { maxLength: 8 }) }),
  { minLength: 1, maxLength: 4 },
);

function apply(cluster: Cluster, change: Change, replicas: number): void {
  for (let i = 0; i < change.joins; i++) join(cluster);
  for (const seed of change.leaves) if (cluster.wanted.length > replicas) leave(cluster, seed);
}

function assertClaimed(cluster: Cluster, claim: ChangedClaim, partitions: number, replicas: number): void {
  const { nodes, wanted } = cluster;
  const spread = spreadOf(
    wanted.map((index) => nodes[index] as ClaimNode),
    replicas,
  );
  const loads = new Map(wanted.map((index) => [index, 0]));
  for (let p = 0; p < partitions; p++) {
    const row = [...claim.owners.subarray(p * replicas, (p + 1) * replicas)];
    assert.equal(new Set(row).size, replicas, `partition ${p} names a node twice`);
    for (const node of row) loads.set(node, (loads.get(node) ?? Number.NaN) + 1);
    const numbers = row.map((node) => wanted.indexOf(node));
    for (const [groupOf, bounds] of [
      [spread.hostOf, spread.hostBounds],
      [spread.zoneOf, spread.zoneBounds],
    ] as const) {
      for (const [group, { least, most }] of bounds.entries()) {
        const count = numbers.filter((number) => groupOf[number] === group).length;
        assert.ok(count >= least && count <= most, `partition ${p} has ${count} in group ${group}, ${least}..${most}`);
      }
    }
  }
  // As even as the first claim makes them, which ring-claim.test.ts holds against every single move.
  const first = firstClaim({ nodes: wanted.map((index) => nodes[index] as ClaimNode), partitions, replicas });
  const sorted = (owners: Uint16Array) =>
    Object.values(Object.groupBy([...owners], String))
      .map((all) => all?.length ?? 0)
      .sort((a, b) => a - b);
  assert.deepEqual(sorted(claim.owners), sorted(first), 'loads');
}

function movedBetween(before: Uint16Array, after: Uint16Array, replicas: number): number {
  let moved = 0;
  for (const [at, node] of after.entries()) {
    const first = at - (at % replicas);
    if (!before.subarray(first, first + replicas).includes(node)) moved += 1;
  }
  return moved;
}

/**
 * In odd layouts the minimum is a bound that no claim may be able to reach. Of 50,000 random changes one in two hundred
 * was above 1.1 times that, five by more than 0.05 of all replicas, and none by more than 0.093.
 */
const ODD_LAYOUT_EXCESS = 0.15;

test('changes in a row of any layout keep rows spread and loads even, and move little above what must move', () => {
  fc.assert(
    fc.property(
      fc.record({
        size: fc.integer({ min: 1, max: 40 }),
        hosts: fc.integer({ min: 1, max: 60 }),
        zones: fc.integer({ min: 1, max: 6 }),
        replicas: fc.integer({ min: 1, max: 5 }),
        bits: fc.integer({ min: 0, max: 8 }),
        changes: anyChanges,
      }),
      ({ size, hosts, zones, replicas: n, bits, changes }) => {
        const cluster = clusterOf(size, hosts, zones);
        const replicas = Math.min(n, size);
        const partitions = 2 ** bits;
        let owners = firstClaim({ nodes: cluster.nodes, partitions, replicas });
        for (const change of changes) {
          apply(cluster, change, replicas);
          const claim = changeClaim({ nodes: cluster.nodes, wanted: cluster.wanted, owners, partitions, replicas });
          assertClaimed(cluster, claim, partitions, replicas);
          assert.equal(claim.moved, movedBetween(owners, claim.owners, replicas));
          const most = 1.1 * claim.minimum + 2 + ODD_LAYOUT_EXCESS * owners.length;
          assert.ok(claim.moved <= most, `${claim.moved} moved, ${claim.minimum} had to`);
          owners = claim.owners;
        }
      },
    ),
    { numRuns: 200 },
  );
});

test('with a host for each node, 1 to 300 nodes move at most 1.1 times what must move', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 300 }),
      fc.integer({ min: 8, max: 10 }),
      anyChanges,
      (size, bits, changes) => {
        const cluster = clusterOf(size, 1000, 1);
        const replicas = Math.min(3, size);
        const partitions = 2 ** bits;
        let owners = firstClaim({ nodes: cluster.nodes, partitions, replicas });
        for (const change of changes) {
          apply(cluster, change, replicas);
          const input = { nodes: cluster.nodes, wanted: cluster.wanted, owners, partitions, replicas };
          const claim = changeClaim(input);
          assert.deepEqual(changeClaim(input), claim);
          assert.ok(claim.moved <= 1.1 * claim.minimum, `${claim.moved} moved, ${claim.minimum} had to`);
          const loads = cluster.wanted.map((node) => claim.owners.filter((owner) => owner === node).length);
          assert.ok(Math.max(...loads) - Math.min(...loads) <= 1);
          const firsts = new Map(cluster.wanted.map((node) => [node, 0]));
          for (let p = 0; p < partitions; p++) {
            const first = claim.owners[p * replicas] as number;
            firsts.set(first, (firsts.get(first) as number) + 1);
          }
          assert.ok(Math.max(...firsts.values()) - Math.min(...firsts.values()) <= 1, 'primaries');
          owners = claim.owners;
        }
      },
    ),
    { numRuns: 25 },
  );
});

for (const sizes of [
  [5, 7, 5],
  [30, 31, 29],
]) {
  test(`loads are within a hundredth of the greatest through ${sizes.join(', ')} nodes`, () => {
    const cluster = clusterOf(sizes[0] as number, 1000, 1);
    let owners = firstClaim({ nodes: cluster.nodes, partitions: 1024, replicas: 3 });
    for (const size of sizes) {
      while (cluster.wanted.length < size) join(cluster);
      while (cluster.wanted.length > size) leave(cluster, 3);
      owners = changeClaim({ ...cluster, owners, partitions: 1024, replicas: 3 }).owners;
      const most = Math.max(...cluster.wanted.map((node) => owners.filter((owner) => owner === node).length));
      assert.ok((1024 * 3) / size / most >= 0.99, `the greatest load is ${most} of ${size} nodes`);
    }
  });
}

test('300 nodes and 4096 partitions change within two seconds, with room for a slow machine', {
  timeout: 20_000,
}, () => {
  const cluster = clusterOf(300, 1000, 3);
  const owners = firstClaim({ nodes: cluster.nodes, partitions: 4096, replicas: 3 });
  for (let i = 0; i < 3; i++) join(cluster);
  for (let i = 0; i < 3; i++) leave(cluster, i);
  const claim = changeClaim({ ...cluster, owners, partitions: 4096, replicas: 3 });
  assert.ok(claim.moved <= 1.1 * claim.minimum);
});

test('the first claim made anew moves far more, so the bound on movement can fail', () => {
  const cluster = clusterOf(30, 30, 30);
  const before = firstClaim({ nodes: cluster.nodes, partitions: 256, replicas: 3 });
  join(cluster);
  const anew = firstClaim({ nodes: cluster.nodes, partitions: 256, replicas: 3 });
  const { minimum } = changeClaim({ ...cluster, owners: before, partitions: 256, replicas: 3 });
  assert.ok(movedBetween(before, anew, 3) > 5 * minimum);
});

test('32,768 partitions change in a time that grows with them, not with their square, in odd layouts too', {
  timeout: 60_000,
}, () => {
  for (const { hosts, before, after } of [
    { hosts: 1000, before: 11, after: 12 },
    { hosts: 1000, before: 3, after: 4 },
    // Here the minimum is out of reach, and every move is tried to be taken back.
    { hosts: 4, before: 8, after: 6 },
  ]) {
    const cluster = clusterOf(before, hosts, 1);
    const owners = firstClaim({ nodes: cluster.nodes, partitions: 32_768, replicas: 3 });
    while (cluster.wanted.length < after) join(cluster);
    while (cluster.wanted.length > after) cluster.wanted.pop();
    const claim = changeClaim({ ...cluster, owners, partitions: 32_768, replicas: 3 });
    assert.ok(claim.moved <= 1.2 * claim.minimum, `${claim.moved} moved, ${claim.minimum} had to`);
  }
});
