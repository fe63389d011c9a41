/** `npm run bench:claim`: the Dynamo paper's Figure 8 by simulation. Writes docs/load-balance.md and its image. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Command } from 'commander';
import { createMix, type Mix } from '../../services/core/ring/mix.ts';
import { claimed, efficiency, equalShares, tokensAlone, tokensOverPartitions } from './balance/strategies.ts';
import { runBenchmark } from './benchmark.ts';
import { type Line, linePlot, powersOfTenAxis, shareAxis } from './plot.ts';

const NODES = 30;
const REPLICAS = 3;
const RUNS = 20;
/** A token: 8 bytes of position, 2 of node. A named owner of a partition: 2. */
const TOKEN_BYTES = 10;
const OWNER_BYTES = 2;
/** "Q is usually much greater than S·T": at least this many times. */
const PARTITIONS_PER_TOKEN = 8;

const TOKENS_PER_NODE = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const PARTITIONS = [64, 128, 256, 512, 1024, 2048, 4096, 8192];

interface Row {
  readonly size: string;
  readonly bytes: number;
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

interface Size {
  readonly size: string;
  readonly bytes: number;
  loads(mix: Mix): number[];
}

function simulate({ size, bytes, loads }: Size): Row {
  const runs = Array.from({ length: RUNS }, (_, run) => efficiency(loads(createMix(run * 7_919 + bytes))));
  return { size, bytes, mean: runs.reduce((a, b) => a + b) / RUNS, low: Math.min(...runs), high: Math.max(...runs) };
}

const strategies: readonly { readonly name: string; readonly colour: string; readonly sizes: readonly Size[] }[] = [
  {
    name: '1: T random tokens a node',
    colour: '#c0392b',
    sizes: TOKENS_PER_NODE.map((t) => ({
      size: `T = ${t}`,
      bytes: NODES * t * TOKEN_BYTES,
      loads: (mix) => tokensAlone(NODES, REPLICAS, t, mix),
    })),
  },
  {
    name: '2: T random tokens, equal partitions',
    colour: '#2471a3',
    sizes: TOKENS_PER_NODE.map((t) => {
      const q = 2 ** Math.ceil(Math.log2(PARTITIONS_PER_TOKEN * NODES * t));
      return {
        size: `T = ${t}, Q = ${q.toLocaleString('en')}`,
        bytes: NODES * t * TOKEN_BYTES,
        loads: (mix) => tokensOverPartitions(NODES, REPLICAS, t, q, mix),
      };
    }),
  },
  {
    name: '3: Q/S tokens a node, equal partitions',
    colour: '#1e8449',
    sizes: PARTITIONS.map((q) => ({
      size: `Q = ${q.toLocaleString('en')}`,
      bytes: q * OWNER_BYTES,
      loads: (mix) => equalShares(NODES, REPLICAS, q, mix),
    })),
  },
  {
    name: "3 with Cartwheel's claim of all N owners",
    colour: '#000000',
    sizes: PARTITIONS.map((q) => ({
      size: `Q = ${q.toLocaleString('en')}`,
      bytes: q * REPLICAS * OWNER_BYTES,
      loads: () => claimed(NODES, REPLICAS, q),
    })),
  },
];

/** Between two sizes it can be interrupted. */
async function simulateAll(signal: AbortSignal): Promise<Simulated[]> {
  const all: Simulated[] = [];
  for (const { name, colour, sizes } of strategies) {
    const rows: Row[] = [];
    for (const size of sizes) {
      await nextTurn();
      signal.throwIfAborted();
      rows.push(simulate(size));
    }
    all.push({ name, colour, rows });
  }
  return all;
}

interface Simulated {
  readonly name: string;
  readonly colour: string;
  readonly rows: readonly Row[];
}

const tableOf = ({ name, rows }: Simulated): string => {
  const body = rows.map(
    ({ size, bytes, mean, low, high }) =>
      `| ${size} | ${bytes.toLocaleString('en')} | ${mean.toFixed(3)} | ${low.toFixed(3)} – ${high.toFixed(3)} |`,
  );
  return `### ${name}\n\n| size | bytes a node keeps | efficiency | lowest – highest |\n|---|---|---|---|\n${body.join('\n')}\n`;
};

function pageOf(tables: readonly string[]): string {
  return `# Load balance

Figure 8 of the Dynamo paper (DeCandia et al., SOSP 2007, section 6.2) by simulation: how evenly ${NODES} nodes are loaded with
N=${REPLICAS}, against what each of them must keep to know who owns what. Efficiency is the mean load over the greatest; 1 is
perfect. Load is the share of replicas, as if every part of the hash space were asked for equally often.

![Efficiency of the strategies by metadata size](images/load-balance.svg)

\`npm run bench:claim\` makes this page and the plot; its random numbers are the same every time.

- **Strategy 1**: a node takes T random tokens, and the range up to a token belongs to its node and the next N-1 others.
- **Strategy 2**: T random tokens likewise, but they only say who owns each of Q equal partitions (Q at least
  ${PARTITIONS_PER_TOKEN}·S·T): the first N nodes met from the end of the partition on.
- **Strategy 3**: Q equal partitions, dealt out by chance so that each node is first in Q/S of them; the next N-1 others on
  the ring have the other replicas.
- **Cartwheel** is strategy 3 with all N owners of a partition chosen, not only the first. One host a node, one zone.

Bytes: ${TOKEN_BYTES} a token (position and node), ${OWNER_BYTES} a named owner of a partition. ${RUNS} runs each; the claim is the same in every run.
Strategies 1 and 2 have
the same random tokens, and lie on each other: equal partitions alone make no load more even.

What is not in it: popular keys, which no placement of partitions evens out; and what it costs to move to the next size.

${tables.join('\n')}`;
}

function plotOf(simulated: readonly Simulated[]): string {
  const lines = simulated.map(({ name, colour, rows }, i): Line => {
    // 2 lies on 1, and would hide it.
    return { name, colour, dashed: i === 1, points: rows.map((row) => ({ x: row.bytes, y: row.mean })) };
  });
  const bytes = lines.flatMap((line) => line.points.map(({ x }) => x));
  return linePlot(lines, powersOfTenAxis('bytes a node keeps', bytes), shareAxis('mean load / greatest load'));
}

await runBenchmark('claim', async (flags, signal) => {
  new Command('npm run bench:claim --')
    .description(
      "The Dynamo paper's Figure 8 by simulation. Writes docs/load-balance.md and its plot; a minute or less.",
    )
    .exitOverride()
    .parse(flags, { from: 'user' });
  const simulated = await simulateAll(signal);
  const tables = simulated.map(tableOf);
  const docs = new URL('../../docs/', import.meta.url);
  mkdirSync(new URL('images/', docs), { recursive: true });
  writeFileSync(new URL('images/load-balance.svg', docs), plotOf(simulated));
  writeFileSync(new URL('load-balance.md', docs), pageOf(tables));
  console.log(tables.join('\n'));
});
