import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ClaimInput, type ClaimNode, firstClaim } from '../../services/core/ring/claim.ts';

/** n nodes, one a host; `hosts` and `zones` name them by the node's number. */
function nodesOf(n: number, zoneOf: (i: number) => number, hostOf: (i: number) => number = (i) => i): ClaimNode[] {
  return Array.from({ length: n }, (_, i) => ({
    id: `node-${i}`,
    host: `host-${hostOf(i)}`,
    zone: `zone-${zoneOf(i)}`,
  }));
}

function rowsOf(owners: Uint16Array, replicas: number): number[][] {
  return Array.from({ length: owners.length / replicas }, (_, p) => [
    ...owners.subarray(p * replicas, (p + 1) * replicas),
  ]);
}

function loadsOf(rows: readonly number[][], nodes: number): number[] {
  const loads = new Array<number>(nodes).fill(0);
  for (const node of rows.flat()) loads[node] = (loads[node] ?? 0) + 1;
  return loads;
}

function range(numbers: readonly number[]): number {
  return Math.max(...numbers) - Math.min(...numbers);
}

/** How often each name is met. */
function tally(names: readonly string[]): Map<string, number> {
  return new Map(Object.entries(Object.groupBy(names, (name) => name)).map(([name, all]) => [name, all?.length ?? 0]));
}

/** How evenly a partition lies on hosts and zones; compares as a string of descending counts: less is more even. */
function spreadOf(row: readonly number[], nodes: readonly ClaimNode[]): { hosts: number[]; zones: number[] } {
  const counts = (names: string[]) => [...tally(names).values()].sort((a, b) => b - a);
  const members = row.map((i) => nodes[i] as ClaimNode);
  return {
    hosts: counts(members.map((m) => m.host)),
    zones: counts(members.map((m) => m.zone)),
  };
}

/** The most even spread there is, by trying every row: hosts first, then zones. */
function bestSpread(nodes: readonly ClaimNode[], replicas: number): string {
  let best = '';
  const extend = (row: number[], from: number) => {
    if (row.length === replicas) {
      const spread = JSON.stringify(spreadOf(row, nodes));
      if (best === '' || compareSpreads(JSON.parse(spread), JSON.parse(best)) < 0) best = spread;
      return;
    }
    for (let i = from; i < nodes.length; i++) extend([...row, i], i + 1);
  };
  extend([], 0);
  return best;
}

type SpreadCounts = ReturnType<typeof spreadOf>;
function compareSpreads(a: SpreadCounts, b: SpreadCounts): number {
  return squares(a.hosts) - squares(b.hosts) || squares(a.zones) - squares(b.zones);
}

function squares(counts: readonly number[]): number {
  return counts.reduce((sum, n) => sum + n * n, 0);
}

/** Small clusters with any layout of hosts (each in one zone), few enough to try all rows. */
const oddCluster = fc
  .record({
    zones: fc.array(fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 3 }), {
      minLength: 1,
      maxLength: 4,
    }),
    replicas: fc.integer({ min: 1, max: 5 }),
    bits: fc.integer({ min: 0, max: 6 }),
  })
  .map(({ zones, replicas, bits }): ClaimInput => {
    const nodes = zones.flatMap((hosts, z) =>
      hosts.flatMap((size, h) =>
        Array.from({ length: size }, (_, i) => ({
          id: `${z}-${h}-${i}`,
          host: `${z}-${h}`,
          zone: `${z}`,
        })),
      ),
    );
    return {
      nodes,
      replicas: Math.min(replicas, nodes.length),
      partitions: 2 ** bits,
    };
  })
  .filter((input) => input.nodes.length <= 12);

test('each partition is spread over hosts, then zones, as evenly as any choice of nodes could be', () => {
  fc.assert(
    fc.property(oddCluster, (input) => {
      const best = bestSpread(input.nodes, input.replicas);
      for (const row of rowsOf(firstClaim(input), input.replicas)) {
        assert.equal(new Set(row).size, input.replicas);
        assert.equal(JSON.stringify(spreadOf(row, input.nodes)), best);
      }
    }),
    { numRuns: 150 },
  );
});

test('no single move of a partition from a node to another would make the loads more even', () => {
  fc.assert(
    fc.property(oddCluster, ({ nodes, replicas, partitions }) => {
      const best = bestSpread(nodes, replicas);
      const rows = rowsOf(firstClaim({ nodes, replicas, partitions }), replicas);
      const loads = loadsOf(rows, nodes.length);
      for (const row of rows) {
        for (const from of row) {
          nodes.forEach((_, to) => {
            if (row.includes(to) || (loads[from] as number) - (loads[to] as number) < 2) return;
            const moved = row.map((node) => (node === from ? to : node));
            assert.notEqual(JSON.stringify(spreadOf(moved, nodes)), best, `${from} to ${to}, loads ${loads}`);
          });
        }
      }
    }),
    { numRuns: 150 },
  );
});

test('with equal zones loads and primaries are within one of each other, for 1 to 300 nodes', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 0, max: 10 }),
      (zones, perZone, replicas, bits) => {
        const nodes = nodesOf(zones * perZone, (i) => i % zones);
        const n = Math.min(replicas, nodes.length);
        const rows = rowsOf(firstClaim({ nodes, partitions: 2 ** bits, replicas: n }), n);
        assert.ok(range(loadsOf(rows, nodes.length)) <= 1);
        const primaries = loadsOf(
          rows.map((row) => row.slice(0, 1)),
          nodes.length,
        );
        assert.ok(range(primaries) <= 1, `primaries ${primaries}`);
      },
    ),
    { numRuns: 60 },
  );
});

test('primaries are as even as the owners allow, whatever the layout', () => {
  fc.assert(
    fc.property(oddCluster, ({ nodes, replicas, partitions }) => {
      const rows = rowsOf(firstClaim({ nodes, replicas, partitions }), replicas);
      const counts = loadsOf(
        rows.map((row) => row.slice(0, 1)),
        nodes.length,
      );
      // Whoever can be handed a partition along a chain, from a node, has at most one fewer than it.
      nodes.forEach((_, from) => {
        const reached = new Set([from]);
        for (const node of reached) {
          for (const row of rows) if (row[0] === node) for (const next of row) reached.add(next);
        }
        for (const node of reached) assert.ok((counts[from] as number) - (counts[node] as number) <= 1);
      });
    }),
    { numRuns: 100 },
  );
});

test('a zone with a single node takes part in every partition when zones are as many as replicas', () => {
  const nodes = nodesOf(7, (i) => (i === 0 ? 0 : 1 + (i % 2)));
  const rows = rowsOf(firstClaim({ nodes, partitions: 64, replicas: 3 }), 3);
  assert.equal(loadsOf(rows, 7)[0], 64);
  assert.ok(range(loadsOf(rows, 7).slice(1)) <= 1);
});

test('the partitions of a failed node are shared with nearly all nodes that could share them', () => {
  const nodes = nodesOf(30, (i) => i % 3);
  const rows = rowsOf(firstClaim({ nodes, partitions: 1024, replicas: 3 }), 3);
  nodes.forEach((_, failed) => {
    const shared = rows.filter((row) => row.includes(failed)).flat();
    const counts = [...tally(shared.map(String))].filter(([node]) => node !== `${failed}`).map(([, count]) => count);
    assert.equal(counts.length, 20);
    assert.ok(Math.max(...counts) <= 2 * (shared.length / 3 / 10), `worst pair ${Math.max(...counts)}`);
  });
});

test('the same nodes get the same claim every time', () => {
  const input = {
    nodes: nodesOf(11, (i) => i % 4),
    partitions: 256,
    replicas: 3,
  };
  assert.deepEqual(firstClaim(input), firstClaim(input));
});

test('300 nodes and 4096 partitions are claimed whole', {
  timeout: 20_000,
}, () => {
  const nodes = nodesOf(300, (i) => i % 3);
  const rows = rowsOf(firstClaim({ nodes, partitions: 4096, replicas: 3 }), 3);
  assert.ok(range(loadsOf(rows, 300)) <= 1);
  for (const row of rows) assert.equal(new Set(row.map((i) => i % 3)).size, 3);
});

test('a host that claims to be in two zones still gets no two replicas', () => {
  const nodes = [...nodesOf(4, (i) => i % 2), { id: 'liar', host: 'host-0', zone: 'zone-1' }];
  for (const row of rowsOf(firstClaim({ nodes, partitions: 64, replicas: 3 }), 3)) {
    assert.equal(new Set(row.map((i) => nodes[i]?.host)).size, 3);
  }
});

test('more replicas than nodes are refused with both numbers', () => {
  assert.throws(
    () => firstClaim({ nodes: nodesOf(2, () => 0), partitions: 64, replicas: 3 }),
    /3 replicas .* there are 2/,
  );
});
