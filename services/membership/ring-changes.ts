/**
 * What operators ask of the claimant: to plan a change of the ring, commit it, pause, resume or roll it back; and how far
 * one has come. What a change is, and whether it may be, is core's (change-request.ts).
 *
 * I1 A commit carries out what its plan said: it is planned again on the ring as it is, and must come to the same id.
 * I2 Nothing is committed that a disk, as its node says just then, has not the room for.
 * I3 A plan is carried out once: a commit that comes once more, late, does not begin again what was rolled back meanwhile.
 *    Planned again, on a ring that is as it was, a change has the same id, and can be committed again.
 */
import {
  ChangeControl,
  type ChangeStatus,
  type GetStatusResponse,
  type PlanChangeRequest,
  type PlanChangeResponse,
} from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { Failure } from '../core/failure.ts';
import { type ChangeCost, costOf, type NodeMeans, shortOfRoom } from '../core/membership/change-cost.ts';
import { replicasLeft } from '../core/membership/change-progress.ts';
import { type ChangeRequest, type PlannedChange, planChange } from '../core/membership/change-request.ts';
import { FLIGHT_LIMITS } from '../core/membership/claimant.ts';
import { planDoubling } from '../core/membership/doubling.ts';
import type { Member } from '../core/membership/member.ts';
import { doubles, type Goal, partitionsLeft, type Report, rolledBack } from '../core/membership/rebalance.ts';
import { newNodeOf } from '../core/ring/change.ts';
import { decodeVersion, encodeStatus, encodeVersion } from '../core/ring/codec.ts';
import { currentRing } from '../core/ring/current-ring.ts';
import type { PlanSide } from '../core/ring/plan.ts';
import { type NodeStatusName, nodeById, type Ring, type RingNode, weightOf } from '../core/ring/ring.ts';
import type { Gossip } from '../platform/gossip/gossip.ts';
import { xxh64 } from '../platform/hash.ts';
import type { StatusTarget } from '../platform/read-statuses.ts';
import type { RingChanges } from '../platform/status-service.ts';
import { type ClaimLoop, STEP_INTERVAL_MS } from './claim-loop.ts';
import { encodeDoubling } from './encode-doubling.ts';

export interface RingChangesOptions {
  readonly gossip: Pick<Gossip, 'state'>;
  readonly claimLoop: Pick<ClaimLoop, 'state' | 'setGoal' | 'progress'>;
  readonly statuses: (targets: readonly StatusTarget[]) => Promise<ReadonlyMap<string, GetStatusResponse>>;
}

/** Plans that can be committed: an operator looks at a few. */
const PLANS_KEPT = 16;

type KeptPlan = KeptChange | 'doubling';

interface KeptChange {
  readonly request: ChangeRequest;
  /** Of one replica of a partition. */
  readonly bytes: number;
}

export function createRingChanges(options: RingChangesOptions): RingChanges & { status(): ChangeStatus | undefined } {
  const { gossip, claimLoop } = options;
  /** By id, the newest last. */
  const plans = new Map<string, KeptPlan>();

  const ringNow = () => currentRing({ ring: () => gossip.state().ring });
  const planned = (ring: Ring, goal: Goal | undefined, { request, bytes }: KeptChange) =>
    planChange(ring, goal, request, () => bytes, xxh64);

  function keepPlan(id: string, plan: KeptPlan): void {
    plans.delete(id);
    plans.set(id, plan);
    for (const old of [...plans.keys()].slice(0, -PLANS_KEPT)) plans.delete(old);
  }

  /** Storage nodes by id: those of the ring, with the address that gossip has, and all others that it knows. */
  function candidates(ring: Ring): Map<string, Candidate> {
    const { members } = gossip.state();
    const inRing = ring.nodes.map((node): [string, Candidate] => [node.id, { ...node, ...members.get(node.id) }]);
    return new Map<string, Candidate>([...members, ...inRing].filter(([id]) => !hasLeft(ring, id)));
  }

  async function plan(message: PlanChangeRequest): Promise<PlanChangeResponse> {
    const ring = ringNow();
    const known = candidates(ring);
    const statuses = await options.statuses([...known.values()]);
    const request = requestOf(message, ring, known, statuses);
    const kept = { request, bytes: bytesOfReplica(ring, statuses) };
    const { goal } = claimLoop.state();
    const change = planned(ring, goal, kept);
    keepPlan(change.goal.id, kept);
    const cost = costOf(change.plan, (node) => meansOf(change.ring, node, statuses), pace);
    return { ...encodePlan(change, cost), ring: encodeVersion(ring.version), changeUnderWay: goal !== undefined };
  }

  return {
    plan,

    async planDoubling() {
      const ring = ringNow();
      const doubling = planDoubling(ring, claimLoop.state().goal, xxh64);
      const statuses = await options.statuses([...candidates(ring).values()]);
      keepPlan(doubling.goal.id, 'doubling');
      return encodeDoubling(doubling, bytesOfReplica(ring, statuses));
    },

    async commit({ planId }) {
      const { goal, ended } = claimLoop.state();
      const kept = plans.get(planId);
      const isDone = ended.some(({ id, end }) => id === planId && end === 'DONE');
      // Asked again because the answer was lost, perhaps with the process that had planned it.
      if (goal?.id === planId || (isDone && kept === undefined)) return {};
      if (kept === undefined)
        throw conflict(`there is no plan ${planId || '(empty)'} here, or it is an old one; plan again`);
      const statuses = await options.statuses([...candidates(ringNow()).values()]);
      await claimLoop.setGoal((_, underWay) => {
        if (underWay?.id === planId) return underWay;
        const ring = ringNow();
        const change = kept === 'doubling' ? planDoubling(ring, underWay, xxh64) : planned(ring, underWay, kept);
        const { goal } = change;
        if (goal.id !== planId) throw conflict('the ring, or the change under way, is another one by now; plan again');
        if ('plan' in change) checkRoom(change, statuses);
        return goal;
      });
      plans.delete(planId); // I3
      return {};
    },

    async control({ control }) {
      await claimLoop.setGoal((ring, goal) => {
        if (goal === undefined || ring === undefined) throw conflict('no change of the ring is under way');
        if (control === ChangeControl.PAUSE) return { ...goal, paused: true };
        if (control === ChangeControl.RESUME) return { ...goal, paused: false };
        if (control === ChangeControl.ROLL_BACK) return rolledBack(ring, goal);
        throw new Failure('OPERATION_INVALID', `control is ${control}, which is none`, { field: 'control' });
      });
      return {};
    },

    status() {
      const { goal } = claimLoop.state();
      const { ring } = gossip.state();
      if (goal === undefined || ring === undefined) return undefined;
      const { replicasLeft: left, etaMs } = claimLoop.progress() ?? {
        replicasLeft: replicasLeft(ring, goal, new Map()),
      };
      const share = goal.replicas === 0 ? 1 : Math.max(0, 1 - left / goal.replicas);
      return {
        planId: goal.id,
        partitionsLeft: partitionsLeft(ring, goal),
        partitionsInFlight: ring.pending.size,
        paused: goal.paused,
        bytes: BigInt(Math.round(goal.bytes)),
        bytesMoved: BigInt(Math.round(goal.bytes * share)),
        etaMs: wholeField(etaMs),
        partitionsAfter: doubles(ring, goal) ? goal.owners.length / ring.replicas : 0,
      };
    },
  };
}

/** What core wants to know of what a node says. Undefined: it knows no ring. */
export function reportOf({ ring, storage, hints }: GetStatusResponse): Report | undefined {
  if (ring === undefined) return undefined;
  const { pulled = [], pulling = [], retiringPartitions = 0, transfersWaitFor: waitsFor = '' } = storage ?? {};
  const owedHints = hints.reduce(
    (sum, { hints: count, markedPartitions }) => sum + Number(count) + markedPartitions,
    0,
  );
  return {
    ...{ version: decodeVersion(ring), pulled: new Set(pulled), owes: retiringPartitions + owedHints, waitsFor },
    pulling: new Map(pulling.map(({ partition, progress }) => [partition, progress])),
  };
}

type Candidate = Pick<Member, 'id' | 'address' | 'host' | 'zone' | 'weight'>;

function requestOf(
  message: PlanChangeRequest,
  ring: Ring,
  known: ReadonlyMap<string, Candidate>,
  statuses: ReadonlyMap<string, GetStatusResponse>,
): ChangeRequest {
  const find = (name: string): Candidate => {
    const found = [...known.values()].filter(({ id, address }) => id === name || address === name);
    // After a lost disk two nodes have had one address: the one that answers is meant, where one does.
    const answering = found.filter(({ id }) => statuses.has(id));
    const [node] = answering.length > 0 ? answering : found;
    if (node !== undefined) return node;
    if (nodeById(ring, name)?.status === 'LEFT') throw impossible(`node ${name} has left the ring`);
    throw impossible(
      `no node ${name} is known; there are ${[...known.values()].map(({ address }) => address).join(', ')}`,
    );
  };
  const outside = [...known.values()].filter(({ id }) => {
    const status = nodeById(ring, id)?.status;
    return statuses.has(id) && (status === undefined || status === 'JOINING');
  });
  const joining = [...message.join, ...message.replace.map(({ joins }) => joins)].map(find);
  if (message.joinAll) joining.push(...outside.filter(({ id }) => !joining.some((node) => node.id === id)));
  if (message.joinAll && joining.length === 0) throw impossible('no node runs that is not in the ring');
  /** Who joins is not meant, even where it has the address of who is replaced and is in the ring by a change that was given up. */
  const inRing = (name: string) => {
    const ofRing = ring.nodes.filter(
      ({ id, address, status }) =>
        address === name && status !== 'LEFT' && !joining.some((joiningNode) => joiningNode.id === id),
    );
    return ofRing.length === 1 ? (ofRing[0] as RingNode).id : find(name).id;
  };
  for (const { id, address } of joining) {
    if (!statuses.has(id)) throw impossible(`${address} does not answer: start it before it joins`);
  }
  const leaving = message.leave.map(inRing);
  return {
    join: joining.map(newNodeOf),
    leave: [...leaving, ...message.replace.map(({ leaves }) => inRing(leaves))],
    down: message.down.map(inRing),
    outside: leaving
      .filter((id) => nodeById(ring, id) === undefined)
      .map((id) => newNodeOf(known.get(id) as Candidate)),
  };
}

/** The mean over all nodes that say what they have. */
function bytesOfReplica(ring: Ring, statuses: ReadonlyMap<string, GetStatusResponse>): number {
  let bytes = 0;
  let partitions = 0;
  for (const { id } of ring.nodes) {
    const { storage } = statuses.get(id) ?? {};
    bytes += Number(storage?.diskBytes ?? 0n);
    partitions += storage?.partitions ?? 0;
  }
  return partitions === 0 ? 0 : bytes / partitions;
}

const pace = { limits: FLIGHT_LIMITS, stepsMs: STEP_INTERVAL_MS };

function meansOf(ring: Ring, node: number, statuses: ReadonlyMap<string, GetStatusResponse>): NodeMeans {
  const { storage } = statuses.get((ring.nodes[node] as RingNode).id) ?? {};
  const { diskFreeBytes, backgroundBytesPerSecond = 0n } = storage ?? {};
  return {
    freeBytes: diskFreeBytes === undefined ? undefined : Number(diskFreeBytes),
    bytesPerSecond: backgroundBytesPerSecond === 0n ? undefined : Number(backgroundBytesPerSecond),
  };
}

/** I2. */
function checkRoom({ plan, ring }: PlannedChange, statuses: ReadonlyMap<string, GetStatusResponse>): void {
  const short = shortOfRoom(costOf(plan, (node) => meansOf(ring, node, statuses), pace));
  if (short.length === 0) return;
  const each = short.map(({ node, replicas, wantedBytes, freeBytes }) => {
    const { address } = ring.nodes[node] as RingNode;
    return `${address} would take over ${replicas} partitions: that wants ${Math.ceil(wantedBytes)} bytes of its disk, and ${freeBytes} are free`;
  });
  throw impossible(each.join('; '));
}

function encodePlan({ goal, plan, ring, withoutSource }: PlannedChange, cost: ChangeCost): PlanChangeResponse {
  const takings = new Map(cost.takings.map((taking) => [taking.node, taking]));
  const idOf = (index: number) => (ring.nodes[index] as RingNode).id;
  return {
    planId: goal.id,
    ring: undefined,
    changeUnderWay: false,
    transfers: plan.pairs.map(({ from, to, bytes }) => ({
      from: idOf(from),
      to: idOf(to),
      partitions: plan.moves.filter((move) => move.from === from && move.to === to).map(({ partition }) => partition),
      bytes: BigInt(Math.round(bytes)),
    })),
    partitions: plan.partitions,
    bytes: BigInt(Math.round(plan.bytes)),
    nodes: ring.nodes
      .filter(({ status }) => status !== 'LEFT')
      .map((node) => ({
        id: node.id,
        address: node.address,
        zone: node.zone,
        status: encodeStatus(statusAfter(node, goal)),
        partitionsBefore: plan.before.loads[node.index] ?? 0,
        partitionsAfter: plan.after.loads[node.index] ?? 0,
        host: node.host,
        weight: weightOf(node),
        bytes: wholeField(takings.get(node.index)?.bytes) ?? 0n,
        bytesWanted: wholeField(takings.get(node.index)?.wantedBytes) ?? 0n,
        bytesFree: wholeField(takings.get(node.index)?.freeBytes),
      })),
    before: encodeSafety(plan.before),
    after: encodeSafety(plan.after),
    partitionsWithoutSource: [...withoutSource],
    etaMs: wholeField(cost.etaMs),
  };
}

function wholeField(value: number | undefined): bigint | undefined {
  return value === undefined ? undefined : BigInt(Math.ceil(value));
}

function statusAfter({ id, status }: RingNode, { joining, leaving, down }: Goal): NodeStatusName {
  if (leaving.includes(id)) return 'LEFT';
  if (down.includes(id)) return 'DOWN';
  return joining.some((node) => node.id === id) ? 'UP' : status;
}

function encodeSafety({ unsafeHosts, unsafeZones }: PlanSide) {
  return { partitionsShortOfHosts: unsafeHosts, partitionsShortOfZones: unsafeZones };
}

function hasLeft(ring: Ring, id: string): boolean {
  return nodeById(ring, id)?.status === 'LEFT';
}

function impossible(message: string): Failure {
  return new Failure('CHANGE_IMPOSSIBLE', message);
}

function conflict(message: string): Failure {
  return new Failure('CHANGE_CONFLICT', message);
}
