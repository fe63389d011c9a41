/**
 * A cluster as the claimant sees it, for tests: nodes that learn of rings when they please, pull, hand back and report, late
 * or never. It checks what may never be, at each ring that is issued:
 *
 *   - an owner that does not have what the partition holds;
 *   - a flipped partition settled before all that have a part in it, and are not down, know the flip;
 *   - a node LEFT that still has something that it did not hand back;
 *   - more partitions in flight than allowed, or a version that does not follow.
 */
import assert from 'node:assert/strict';
import { type ChangeRequest, planChange } from '../../services/core/membership/change-request.ts';
import {
  advance,
  type Goal,
  partitionsLeft,
  type Report,
  type Reports,
  rolledBack,
} from '../../services/core/membership/rebalance.ts';
import type { FlightLimits, NewNode } from '../../services/core/ring/change.ts';
import { firstClaim } from '../../services/core/ring/claim.ts';
import { rowOf } from '../../services/core/ring/plan.ts';
import { compareVersions, createRing, nodeById, type Ring } from '../../services/core/ring/ring.ts';
import { decodeCourse, encodeCourse } from '../../services/membership/course-file.ts';
import { xxh64 } from '../../services/platform/hash.ts';

interface ModelNode {
  known: Ring;
  readonly has: Set<number>;
  /** Pending by `known`, and pulled since. */
  readonly pulled: Set<number>;
  /** Pending by `known` because it gave them up: it does not pull these. */
  readonly givenUp: Set<number>;
  isDead: boolean;
  /** Those it has given, any of which may come again. */
  readonly reports: Report[];
}

export function member(i: number): NewNode {
  return { id: `node-${i}`, address: `node-${i}:7411`, host: `host-${i}`, zone: `zone-${i % 3}` };
}

export function ringOf(size: number, partitions: number): Ring {
  const nodes = Array.from({ length: size }, (_, index) => ({ index, ...member(index), status: 'UP' as const }));
  const owners = firstClaim({ nodes, partitions, replicas: 3 });
  return createRing({
    version: { term: 1n, sequence: 1n },
    partitions,
    replicas: 3,
    nodes,
    owners,
    pending: new Map(),
  });
}

export class ModelCluster {
  ring: Ring;
  goal: Goal | undefined;
  waitingFor = '';
  readonly nodes = new Map<string, ModelNode>();
  private readonly limits: FlightLimits;
  private readonly flipped = new Set<number>();

  constructor(ring: Ring, limits: FlightLimits) {
    this.ring = ring;
    this.limits = limits;
    for (const node of ring.nodes) this.addNode(node.id);
    for (let p = 0; p < ring.partitions; p++) {
      for (const index of rowOf(ring.owners, p, ring.replicas)) this.node(index).has.add(p);
    }
  }

  commit(request: Partial<ChangeRequest>): void {
    const whole = { join: [], leave: [], down: [], ...request };
    this.goal = planChange(this.ring, this.goal, whole, () => 1, xxh64).goal;
    for (const { id } of [...whole.join, ...(whole.outside ?? [])]) this.addNode(id);
    for (const id of whole.down) this.named(id).isDead = true;
  }

  pause(paused: boolean): void {
    if (this.goal !== undefined) this.goal = { ...this.goal, paused };
  }

  rollBack(): void {
    if (this.goal !== undefined) this.goal = rolledBack(this.ring, this.goal);
  }

  learn(id: string): void {
    const node = this.named(id);
    if (node.isDead) return;
    for (const p of this.ring.pending.keys()) if (this.owns(node.known, p, id)) node.givenUp.add(p);
    node.known = this.ring;
    for (const p of node.givenUp) if (!this.isPending(node.known, p, id)) node.givenUp.delete(p);
    for (const p of node.pulled) if (!this.isPending(node.known, p, id)) node.pulled.delete(p);
  }

  /** As a storage node does: from owners that know as much. One of them is enough here, for they all have it. */
  pull(id: string, partition: number): void {
    const node = this.named(id);
    if (node.isDead || node.givenUp.has(partition) || !this.isPending(node.known, partition, id)) return;
    const owners = rowOf(node.known.owners, partition, node.known.replicas).map((index) => this.node(index));
    const knowing = owners.filter(
      (owner) => !owner.isDead && compareVersions(owner.known.version, node.known.version) >= 0,
    );
    if (!knowing.some((owner) => owner.has.has(partition))) return;
    node.has.add(partition);
    node.pulled.add(partition);
  }

  /** What it neither owns nor is pending for. */
  handBack(id: string): void {
    const node = this.named(id);
    if (node.isDead) return;
    for (const p of node.has) if (!this.belongs(node.known, p, id)) node.has.delete(p);
  }

  report(id: string): void {
    const node = this.named(id);
    if (node.isDead) return;
    const owes = [...node.has].filter((p) => !this.belongs(node.known, p, id)).length;
    node.reports.push({ version: node.known.version, pulled: new Set(node.pulled), owes });
  }

  /** A step of the claimant with these reports. Whether it issued a ring. */
  step(reports: Reports): boolean {
    if (this.goal === undefined) return false;
    const { goal, ring, done, waitingFor } = advance(this.ring, this.goal, reports, this.limits);
    // Every step is the first one of a new life: all that there is comes from the disk.
    this.goal = decodeCourse(encodeCourse({ goal, ended: [] })).goal;
    this.waitingFor = waitingFor;
    if (done) {
      assert.deepEqual(this.ring.owners, goal.owners);
      assert.equal(partitionsLeft(this.ring, goal), 0);
      this.goal = undefined;
    }
    if (ring === undefined) return false;
    this.check(this.ring, ring);
    this.ring = ring;
    return true;
  }

  /** Everybody alive learns, pulls, hands back and reports; the claimant goes on until the goal is reached. */
  toTheEnd(): void {
    for (let round = 0; this.goal !== undefined; round++) {
      assert.ok(round < 3_000, `the change does not end: it waits for ${this.waitingFor || '?'}; ${this.describe()}`);
      for (const id of this.nodes.keys()) this.learn(id);
      for (const id of this.nodes.keys()) {
        for (const p of this.ring.pending.keys()) this.pull(id, p);
        this.handBack(id);
        this.report(id);
      }
      this.step(this.latestReports());
    }
  }

  latestReports(): Reports {
    const latest = new Map<string, Report>();
    for (const [id, { reports, isDead }] of this.nodes) {
      const last = reports.at(-1);
      if (last !== undefined && !isDead) latest.set(id, last);
    }
    return latest;
  }

  private describe(): string {
    const { joining = [], leaving = [], down = [] } = this.goal ?? {};
    const statuses = this.ring.nodes.map(({ id, status }) => `${id} ${status}`).join(', ');
    return `joining [${joining.map(({ id }) => id)}] leaving [${leaving}] down [${down}]; ${statuses}`;
  }

  private check(before: Ring, after: Ring): void {
    assert.equal(after.version.sequence, before.version.sequence + 1n);
    for (let p = 0; p < after.partitions; p++) {
      for (const index of rowOf(after.owners, p, after.replicas)) {
        const { status } = after.nodes[index] ?? {};
        assert.ok(this.node(index).has.has(p) || status === 'DOWN', `node ${index} owns ${p}, and has not pulled it`);
      }
      const turned = rowOf(before.owners, p, 3).sort().join() !== rowOf(after.owners, p, 3).sort().join();
      // Where all that left are down nobody is pending, and there is nothing to settle.
      if (turned && !after.pending.has(p)) this.flipped.delete(p);
      else if (turned) this.flipped.add(p);
      else if (this.flipped.has(p) && before.pending.get(p)?.join() !== after.pending.get(p)?.join()) {
        this.flipped.delete(p);
        for (const index of [...rowOf(before.owners, p, 3), ...(before.pending.get(p) ?? [])]) {
          if (after.nodes[index]?.status === 'DOWN') continue;
          const { known } = this.node(index);
          assert.ok(
            compareVersions(known.version, before.version) >= 0,
            `${p} settled, and node ${index} has not heard`,
          );
        }
      }
    }
    for (const { id, status } of after.nodes) {
      const node = this.named(id);
      if (status !== 'LEFT' || node.isDead) continue;
      assert.deepEqual([...node.has], [], `${id} has left, and has something`);
    }
    if (after.pending.size > before.pending.size) assert.ok(after.pending.size <= this.limits.partitionsInFlight);
  }

  private addNode(id: string): void {
    if (this.nodes.has(id)) return;
    this.nodes.set(id, {
      known: this.ring,
      has: new Set(),
      pulled: new Set(),
      givenUp: new Set(),
      isDead: false,
      reports: [],
    });
  }

  private node(index: number): ModelNode {
    return this.named(this.ring.nodes[index]?.id ?? this.goal?.joining[index - this.ring.nodes.length]?.id ?? '');
  }

  private named(id: string): ModelNode {
    return this.nodes.get(id) as ModelNode;
  }

  private isPending(ring: Ring, partition: number, id: string): boolean {
    const index = nodeById(ring, id)?.index;
    return index !== undefined && ring.pending.get(partition)?.includes(index) === true;
  }

  private belongs(ring: Ring, partition: number, id: string): boolean {
    return this.owns(ring, partition, id) || this.isPending(ring, partition, id);
  }

  private owns(ring: Ring, partition: number, id: string): boolean {
    return rowOf(ring.owners, partition, ring.replicas).includes(nodeById(ring, id)?.index ?? -1);
  }
}
