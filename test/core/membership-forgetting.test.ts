/**
 * Members that have left are forgotten: a cluster of membership values in which nodes come, go, crash, lose answers and come
 * back on old images of their disks, in an order drawn from a seed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, respond, take } from '../../services/core/membership/exchange.ts';
import { MEMBERS_MAX, type Member, nextIncarnation } from '../../services/core/membership/member.ts';
import {
  adoptClusterId,
  adoptRing,
  createMembership,
  learnMembers,
  type Membership,
  ownEntry,
  type Remembered,
} from '../../services/core/membership/membership.ts';
import { newNodeOf } from '../../services/core/ring/change.ts';
import { createRing, nodeById, type Ring, type RingNode, ringsEqual } from '../../services/core/ring/ring.ts';
import { type SeededRandom, seededRandom } from '../sim/random.ts';

const seeds = 60;
const steps = 400;

function memberOf(id: string, incarnation: bigint): Member {
  return { id, incarnation, status: 'JOINING', address: `${id}:7411`, host: id, zone: 'z' };
}

/** All partitions are the first node's that is UP: who owns what is nothing to gossip. */
function ringOf(version: Ring['version'], nodes: readonly RingNode[]): Ring {
  const owner = nodes.find(({ status }) => status === 'UP')?.index ?? 0;
  return createRing({
    version,
    partitions: 8,
    replicas: 1,
    nodes,
    owners: new Uint16Array(8).fill(owner),
    pending: new Map(),
  });
}

/** What is on the disk of a process; and, for the test, which starts of others it has ever been told of. */
interface Disk extends Remembered {
  readonly starts: ReadonlyMap<string, bigint>;
}

interface Process {
  readonly name: string;
  state: Membership;
  /** By id of a node, the newest start of it that this process was told of and has had on its disk since. */
  starts: Map<string, bigint>;
  disk: Disk;
  /** Of disks it had. */
  images: Disk[];
  /** The incarnations that this life knows to be its own. */
  own: Set<bigint>;
}

const nothing: Disk = { clusterId: '', members: [], ring: undefined, namespaces: [], starts: new Map() };

class World {
  readonly random: SeededRandom;
  readonly processes: Process[] = [];
  #nodes = 0;

  constructor(seed: number) {
    this.random = seededRandom(seed, 'forgetting');
    this.begin('seed', nothing);
    for (let i = 0; i < 3; i++) this.come();
  }

  get claimant(): Process {
    return this.processes[0] as Process;
  }

  begin(name: string, disk: Disk): Process {
    const isNode = name !== 'seed';
    const previous = disk.members.find(({ id }) => id === name)?.incarnation ?? 0n;
    const self = isNode ? memberOf(name, nextIncarnation(previous, this.random.u64())) : undefined;
    const process: Process = {
      name,
      state: createMembership(disk, self),
      starts: new Map(disk.starts),
      disk,
      images: [],
      own: new Set(),
    };
    const at = this.processes.findIndex((other) => other.name === name);
    if (at < 0) this.processes.push(process);
    else {
      process.images = (this.processes[at] as Process).images;
      this.processes[at] = process;
    }
    this.settle(process);
    return process;
  }

  /** What it knows is durable. */
  settle(process: Process): void {
    const { clusterId, members, ring, namespaces, self } = process.state;
    for (const incarnation of self?.incarnations ?? []) process.own.add(incarnation);
    for (const { id, incarnation } of members.values()) {
      if (incarnation > (process.starts.get(id) ?? 0n)) process.starts.set(id, incarnation);
    }
    process.disk = {
      ...{ clusterId, members: [...members.values()], ring, namespaces: [...namespaces.values()] },
      starts: new Map(process.starts),
    };
  }

  come(): void {
    this.begin(`n${++this.#nodes}`, nothing);
  }

  crash(): void {
    const process = this.random.pick(this.processes);
    this.begin(process.name, process.disk);
  }

  /** Not of the claimant: its directory has rules of its own. */
  restore(): void {
    const process = this.random.pick(this.processes.slice(1));
    if (process.images.length > 0) this.begin(process.name, this.random.pick(process.images));
  }

  image(): void {
    const process = this.random.pick(this.processes);
    process.images.push(process.disk);
  }

  /** Some node that the claimant knows enters the ring, goes down, or leaves. */
  issue(): void {
    const { claimant, random } = this;
    const { ring, members } = claimant.state;
    const nodes = [...(ring?.nodes ?? [])];
    const [outside] = random.shuffled(
      [...members.values()].filter(({ id }) => ring === undefined || !nodeById(ring, id)),
    );
    const inside = random.shuffled(nodes.filter(({ status }) => status !== 'LEFT'));
    const change = random.below(3);
    if (outside !== undefined && (change === 0 || inside.length < 2)) {
      nodes.push({ ...newNodeOf(outside), index: nodes.length, status: 'UP' });
    } else if (inside[0] !== undefined && inside.filter(({ status }) => status === 'UP').length > 2) {
      nodes[inside[0].index] = { ...inside[0], status: change === 1 ? 'LEFT' : 'DOWN' };
    } else return;
    const next = ringOf({ term: 1n, sequence: (ring?.version.sequence ?? 0n) + 1n }, nodes);
    claimant.state = adoptRing(adoptClusterId(claimant.state, 'c'), next);
    this.settle(claimant);
  }

  /** A round; `lost`: the answer does not arrive. */
  talk(caller: Process, responder: Process, lost = false): boolean {
    const [asked, answer] = respond(responder.state, ask(caller.state), 0);
    const told = responder.starts.get(caller.name) ?? 0n;
    responder.state = asked;
    this.settle(responder);
    if (lost) return false;
    const [taken, push] = take(caller.state, answer, 0);
    caller.state = taken;
    this.settle(caller);
    this.checkRestored(caller, told, responder);
    if (push === undefined) return answer.wanted.length > 0 || answer.members.length > 0;
    responder.state = respond(responder.state, push, 0)[0];
    this.settle(responder);
    return true;
  }

  /** Who has asked somebody that was told of a start which its disk does not have trusts nothing from before. */
  checkRestored({ name, state, own }: Process, told: bigint, by: Process): void {
    if (state.self === undefined || told <= state.self.previousIncarnation || own.has(told)) return;
    const isWarned = state.self.isRestored || ownEntry(state)?.status === 'LEFT';
    assert.ok(
      isWarned,
      `${name} is on an old disk, ${by.name} was told of its start ${told}, and ${name} does not notice`,
    );
  }

  step(): void {
    const { random } = this;
    const what = random.fraction();
    if (what < 0.03) this.come();
    else if (what < 0.06) this.crash();
    else if (what < 0.09) this.image();
    else if (what < 0.11) this.restore();
    else if (what < 0.16) this.issue();
    else {
      const [caller, responder] = random.shuffled(this.processes) as [Process, Process];
      this.talk(caller, responder, random.chance(0.1));
    }
  }

  check(): void {
    for (const { name, state } of this.processes) {
      for (const { id, status } of state.ring?.nodes ?? []) {
        if (status !== 'LEFT' || id === name) continue;
        assert.ok(!state.members.has(id), `${name} knows of ${id}, which has left by its ring`);
        assert.ok(!state.heard.has(id), `${name} remembers to have spoken to ${id}, which has left by its ring`);
      }
    }
  }

  /** Everybody talks to everybody, some times over. */
  calm(): void {
    for (let round = 0; round < 4; round++) {
      for (const caller of this.processes)
        for (const responder of this.processes) if (caller !== responder) this.talk(caller, responder);
    }
  }
}

test(`in ${seeds} clusters nobody keeps or learns again who has left, and no old disk goes unnoticed`, () => {
  let left = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const world = new World(seed);
    try {
      for (let i = 0; i < steps; i++) {
        world.step();
        world.check();
      }
      world.calm();
      world.check();
      const ring = world.claimant.state.ring as Ring;
      const present = world.processes
        .map(({ name }) => name)
        .filter((name) => name !== 'seed' && nodeById(ring, name)?.status !== 'LEFT')
        .sort();
      for (const { name, state } of world.processes) {
        assert.ok(ringsEqual(state.ring as Ring, ring), `${name} has another ring`);
        assert.deepEqual(
          [...state.members.keys()].filter((id) => nodeById(ring, id)?.status !== 'LEFT').sort(),
          present,
        );
      }
      // Nobody calls one that has left: it would tell of itself each time.
      const called = world.processes.filter(({ state }) => ownEntry(state)?.status !== 'LEFT');
      for (const caller of world.processes) {
        for (const responder of called) {
          if (caller !== responder)
            assert.equal(world.talk(caller, responder), false, 'they still have something to say');
        }
      }
      left += ring.nodes.filter(({ status }) => status === 'LEFT').length;
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
  assert.ok(left > seeds, `only ${left} nodes have left`);
});

test('more nodes come and go than there is room for members, and a new one still finds room', () => {
  const together = 128;
  let seed = adoptClusterId(createMembership(nothing, undefined), 'c');
  let old = seed;
  let nodes: RingNode[] = [];
  let sequence = 0n;
  while (nodes.length <= MEMBERS_MAX + together) {
    const coming = Array.from({ length: together }, (_, i) => memberOf(`n${nodes.length + i}`, 1n));
    seed = learnMembers(seed, coming);
    nodes = nodes.map((node) => ({ ...node, status: 'LEFT' }));
    for (const member of coming) nodes.push({ ...newNodeOf(member), index: nodes.length, status: 'UP' });
    seed = adoptRing(seed, ringOf({ term: 1n, sequence: ++sequence }, nodes));
    assert.deepEqual([...seed.members.keys()].sort(), coming.map(({ id }) => id).sort());
    if (sequence === 1n) old = seed;
  }
  seed = learnMembers(seed, [memberOf('late', 1n)]);
  assert.equal(seed.members.get('late')?.status, 'JOINING');
  assert.equal(seed.counts.membersRefused, 0);
  // One that was away since the first ring brings nobody back, and forgets them too.
  const [, answer] = respond(seed, ask(old), 0);
  assert.deepEqual(answer.wanted, []);
  const [back] = take(old, answer, 0);
  assert.deepEqual([...back.members.keys()].sort(), [...seed.members.keys()].sort());
});
