/** Which memory of a cluster a process refuses to go on with, and which it takes for its own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { respond } from '../../services/core/membership/exchange.ts';
import type { Member } from '../../services/core/membership/member.ts';
import { createMembership } from '../../services/core/membership/membership.ts';
import type { Settings } from '../../services/core/membership/settings.ts';
import { encodeRemembered } from '../../services/platform/gossip/remembered.ts';
import { whatIsForeign } from '../../services/platform/gossip/whose-memory.ts';

const settings: Settings = new Map([['levels', '20']]);

function member(id: string, address = `${id}:7411`): Member {
  return { id, address, incarnation: 1n << 24n, status: 'UP', host: id, zone: 'z' };
}

interface Process {
  readonly clusterId: string;
  /** Undefined for one that is no storage node. */
  readonly self?: Member;
  readonly members?: readonly Member[];
  readonly settings?: Settings;
}

interface Question {
  readonly clusterId?: string;
  /** What the directory says of its node; undefined: it is of no storage node. */
  readonly own?: Member;
  readonly advertise?: string;
  readonly seeds: readonly string[];
}

/** What is asked of `processes`, by address; who is not among them does not answer. */
async function asked(processes: Record<string, Process>, { clusterId = 'ours', own, advertise, seeds }: Question) {
  const spoken: string[] = [];
  const foreign = await whatIsForeign(
    {
      directory: '/data',
      remembered: encodeRemembered({
        clusterId,
        members: new Map(own && [[own.id, own]]),
        ring: undefined,
        namespaces: new Map(),
      }),
      self: own && { id: own.id, address: advertise ?? own.address },
      seeds,
    },
    {
      settings,
      transport: {
        async exchange(address, request) {
          spoken.push(address);
          const process = processes[address];
          if (process === undefined) throw new Error(`nobody listens on ${address}`);
          const { clusterId: its, members = [], self } = process;
          const memory = { clusterId: its, members, ring: undefined, namespaces: [] };
          const state = createMembership(memory, self, process.settings ?? settings);
          const [next, answer] = respond(state, request, 0);
          assert.equal(next, state, 'who asks leaves no trace');
          return answer;
        },
      },
    },
  );
  return { foreign, spoken };
}

test('a directory of one cluster is refused where every seed is of another, with both ids and what to do', async () => {
  const theirs = { clusterId: 'theirs' };
  const { foreign } = await asked({ 's1:1': theirs, 's2:1': theirs }, { own: member('a'), seeds: ['s1:1', 's2:1'] });
  assert.equal(
    foreign,
    'data directory /data is of cluster ours, and the seed s1:1 is of cluster theirs. Start it with the seeds of its own ' +
      'cluster (--seeds), or in cluster theirs with another directory, such as an empty one (--data)',
  );
  assert.equal((await asked({ 's1:1': theirs }, { seeds: ['s1:1'] })).foreign, foreign, 'a membership process too');
});

const harmless: [string, Record<string, Process>][] = [
  ['are of its cluster', { 's1:1': { clusterId: 'ours' }, 's2:1': { clusterId: 'ours' } }],
  ['are out of reach', {}],
  ['know of no cluster yet', { 's1:1': { clusterId: '' }, 's2:1': { clusterId: '' } }],
  [
    'are of another cluster, but for one of its own',
    { 's1:1': { clusterId: 'theirs' }, 's2:1': { clusterId: 'ours' } },
  ],
  ['are of another cluster, but for one out of reach', { 's1:1': { clusterId: 'theirs' } }],
  ['have other settings', { 's1:1': { clusterId: 'theirs', settings: new Map([['levels', '8']]) } }],
];
for (const [what, processes] of harmless) {
  test(`a node starts where its seeds ${what}`, async () => {
    const { foreign, spoken } = await asked(processes, { own: member('a'), seeds: ['s1:1', 's2:1'] });
    assert.equal(foreign, undefined);
    assert.deepEqual(spoken, ['s1:1', 's2:1']);
  });
}

test('a directory without a cluster is asked about nowhere', async () => {
  const { foreign, spoken } = await asked({ 's1:1': { clusterId: 'theirs' } }, { clusterId: '', seeds: ['s1:1'] });
  assert.deepEqual([foreign, spoken], [undefined, []]);
});

test('a copy of the directory of a node that runs elsewhere is refused, with the node and where it is', async () => {
  const running = { clusterId: 'ours', self: { ...member('a'), incarnation: 2n << 24n } };
  const { foreign } = await asked({ 'a:7411': running }, { own: member('a'), advertise: 'b:7411', seeds: [] });
  assert.equal(
    foreign,
    "data directory /data is of node a, which runs at a:7411: it is a copy of that node's directory, and b:7411 is to be " +
      'another node. Start it with a directory of its own, such as an empty one (--data); to move the node here, end the ' +
      'other process first',
  );
});

test('a node that has moved since the copy was made is found by what the seeds know', async () => {
  const moved = member('a', 'c:7411');
  const processes = {
    's1:1': { clusterId: 'ours', members: [moved] },
    'c:7411': { clusterId: 'ours', self: { ...moved, incarnation: 2n << 24n } },
  };
  const { foreign } = await asked(processes, { own: member('a'), advertise: 'b:7411', seeds: ['s1:1'] });
  assert.match(foreign ?? '', /^data directory \/data is of node a, which runs at c:7411:/);
});

test('a node that comes to another address starts, where nobody or somebody else is at the old one', async () => {
  const question = { own: member('a'), advertise: 'b:7411', seeds: [] };
  assert.deepEqual(await asked({}, question), { foreign: undefined, spoken: ['a:7411'] });
  const other = { clusterId: 'ours', self: member('x', 'a:7411') };
  assert.deepEqual(await asked({ 'a:7411': other }, question), { foreign: undefined, spoken: ['a:7411'] });
});
