/**
 * The three strategies of the Dynamo paper (section 6.2) for placing keys on nodes, and what each gives a node to do
 * when keys are spread evenly by their hash: the share of all replicas that it holds.
 *
 * Places are numbers in [0, 1). A node met twice on the walk round the ring counts once, in all three.
 */
import { firstClaim } from '../../../services/core/ring/claim.ts';
import { type Mix, shuffle } from '../../../services/core/ring/mix.ts';

interface Token {
  readonly at: number;
  readonly node: number;
}

/** T random tokens a node; the range up to a token belongs to its node and the next ones. */
export function tokensAlone(nodes: number, replicas: number, tokensPerNode: number, mix: Mix): number[] {
  const tokens = randomTokens(nodes, tokensPerNode, mix);
  const loads = new Array<number>(nodes).fill(0);
  for (const [i, token] of tokens.entries()) {
    const before = i === 0 ? (tokens.at(-1) as Token).at - 1 : (tokens[i - 1] as Token).at;
    add(loads, walk(tokens, i, replicas), token.at - before);
  }
  return loads;
}

/** T random tokens a node, and Q equal partitions: the tokens met from a partition's end on say who owns it. */
export function tokensOverPartitions(
  nodes: number,
  replicas: number,
  tokensPerNode: number,
  partitions: number,
  mix: Mix,
): number[] {
  const tokens = randomTokens(nodes, tokensPerNode, mix);
  const loads = new Array<number>(nodes).fill(0);
  let i = 0;
  for (let p = 1; p <= partitions; p++) {
    while (i < tokens.length && (tokens[i] as Token).at < p / partitions) i += 1;
    add(loads, walk(tokens, i % tokens.length, replicas), 1 / partitions);
  }
  return loads;
}

/** Q equal partitions, Q/S of them a node by chance; the next nodes round the ring have the other replicas. */
export function equalShares(nodes: number, replicas: number, partitions: number, mix: Mix): number[] {
  const dealt = shuffle(
    Array.from({ length: partitions }, (_, p) => p % nodes),
    mix,
  );
  const tokens = dealt.map((node, p): Token => ({ at: p / partitions, node }));
  const loads = new Array<number>(nodes).fill(0);
  for (const p of tokens.keys()) add(loads, walk(tokens, p, replicas), 1 / partitions);
  return loads;
}

/** Strategy 3 as Cartwheel has it: the claim names all N owners. */
export function claimed(nodes: number, replicas: number, partitions: number): number[] {
  const members = Array.from({ length: nodes }, (_, i) => ({ id: `${i}`, host: `${i}`, zone: '' }));
  const loads = new Array<number>(nodes).fill(0);
  add(loads, firstClaim({ nodes: members, partitions, replicas }), 1 / partitions);
  return loads;
}

/** Mean load over greatest load: 1 is perfect. */
export function efficiency(loads: readonly number[]): number {
  return loads.reduce((total, load) => total + load, 0) / loads.length / Math.max(...loads);
}

function randomTokens(nodes: number, tokensPerNode: number, mix: Mix): Token[] {
  return Array.from({ length: nodes * tokensPerNode }, (_, i) => ({
    at: mix(2 ** 32) / 2 ** 32,
    node: i % nodes,
  })).sort((a, b) => a.at - b.at);
}

/** The first `replicas` distinct nodes from token `from` on. */
function walk(tokens: readonly Token[], from: number, replicas: number): number[] {
  const met: number[] = [];
  for (let step = 0; step < tokens.length && met.length < replicas; step++) {
    const { node } = tokens[(from + step) % tokens.length] as Token;
    if (!met.includes(node)) met.push(node);
  }
  return met;
}

function add(loads: number[], nodes: Iterable<number>, share: number): void {
  for (const node of nodes) loads[node] = (loads[node] as number) + share;
}
