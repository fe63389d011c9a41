/**
 * How one replica finds the leaves in which it differs from another: from the top of a subtree down, asking only below
 * nodes that differ. Depth first, so that few questions are open at a time however much differs; leaves come out in
 * order. The other end is `differing`.
 *
 * I1 Where the subtrees agree there is one question, of one node.
 * I2 A question has at most `nodesMax` nodes, an answer `fanout` digests for each. Its nodes are in order, each once: so
 *    to answer it takes at most one look at the whole tree.
 * I3 An answer speaks of what was asked, and of nothing else.
 */
import type { DigestTree } from './digest-tree.ts';

/** Levels that one answer goes down: 16 children. */
const levelsDown = 4;
export const nodesMax = 256;

export interface NodeDigest {
  readonly index: number;
  readonly digest: bigint;
}

/** Nodes of one level, with what they are here. */
export interface Question {
  readonly level: number;
  readonly nodes: readonly NodeDigest[];
}

/** A node that differs there, and the digests of what is below it; of a leaf, none. */
export interface Difference {
  readonly index: number;
  readonly below: readonly bigint[];
}

export interface Walk {
  /** Undefined: everything has been compared. */
  next(): Question | undefined;
  /** The answer to the last question; gives the leaves that differ, in order. */
  take(differences: readonly Difference[]): readonly number[];
}

export function createWalk(tree: Pick<DigestTree, 'depth' | 'digest'>, level: number, index: number): Walk {
  /** Nodes to ask about; the last ones first. */
  const open: { level: number; index: number }[] = [{ level, index }];
  let asked = level;
  let askedNodes = new Set<number>();
  return {
    next() {
      const last = open.at(-1);
      if (last === undefined) return undefined;
      asked = last.level;
      const nodes: NodeDigest[] = [];
      while (nodes.length < nodesMax && open.at(-1)?.level === asked) {
        const { index: next } = open.pop() as { index: number };
        nodes.push({ index: next, digest: tree.digest(asked, next) });
      }
      askedNodes = new Set(nodes.map((node) => node.index));
      return { level: asked, nodes };
    },
    take(differences) {
      for (const { index: answered } of differences) {
        if (!askedNodes.delete(answered))
          throw new Error(`node ${answered} of level ${asked} was not asked for, or twice`);
      }
      if (asked === tree.depth) return differences.map(({ index: leaf }) => leaf);
      const below = levelBelow(asked, tree.depth);
      const children = 2 ** (below - asked);
      const leaves: number[] = [];
      const next: { level: number; index: number }[] = [];
      for (const { index: parent, below: digests } of differences) {
        for (let i = 0; i < children; i++) {
          const child = parent * children + i;
          if (digests[i] === tree.digest(below, child)) continue;
          if (below === tree.depth) leaves.push(child);
          else next.push({ level: below, index: child });
        }
      }
      open.push(...next.reverse());
      return leaves;
    },
  };
}

/** Answers a question. Throws where it names no nodes of the tree, or breaks I2. */
export function differing(tree: Pick<DigestTree, 'depth' | 'digest'>, { level, nodes }: Question): Difference[] {
  if (nodes.length > nodesMax) throw new Error(`a question has at most ${nodesMax} nodes, not ${nodes.length}`);
  if (!isAscending(nodes.map(({ index }) => index))) throw new Error('the nodes of a question are in order, each once');
  const below = levelBelow(level, tree.depth);
  const children = below === level ? 0 : 2 ** (below - level);
  return nodes
    .filter(({ index, digest }) => tree.digest(level, index) !== digest)
    .map(({ index }) => ({
      index,
      below: Array.from({ length: children }, (_, i) => tree.digest(below, index * children + i)),
    }));
}

/** In order, each once. */
export function isAscending(numbers: readonly number[]): boolean {
  return numbers.every((number, i) => i === 0 || number > (numbers[i - 1] as number));
}

function levelBelow(level: number, depth: number): number {
  return Math.min(level + levelsDown, depth);
}
