import type { Command } from 'commander';
import type { CartwheelClient } from '../../client/index.ts';
import type { GetStatusResponse } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import type { RingVersion } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { away, withClient } from '../connection.ts';
import { down, left, statusName } from '../node-status.ts';
import { bytes, count, duration, json, plural, table, write } from '../output.ts';
import { messageOf, Problem } from '../problem.ts';
import { settingsOf } from '../settings.ts';

/** ProcessKind of admin.proto, by number. */
const kinds = ['?', 'storage node', 'router', 'membership'] as const;

interface Row {
  readonly id: string;
  readonly address: string;
  readonly zone: string;
  /** As gossip has it; undefined for an endpoint that is no member. */
  readonly memberStatus: number | undefined;
  readonly status: GetStatusResponse | undefined;
  /** Why there is no status. */
  readonly problem: string | undefined;
  /** Another node answers at the address: that of a node whose disk was lost, most likely. */
  readonly answersAs?: string | undefined;
}

const columns = [
  { title: 'ADDRESS' },
  { title: 'KIND' },
  { title: 'NODE' },
  { title: 'ZONE' },
  { title: 'STATE' },
  { title: 'RING' },
  { title: 'KEYS', align: 'right' },
  { title: 'DISK', align: 'right' },
  { title: 'PARTITIONS', align: 'right' },
  { title: 'UP FOR', align: 'right' },
] as const;

export function addStatus(program: Command): void {
  program
    .command('status')
    .description('show the members, the ring, and whether all agree on it')
    .addHelpText(
      'after',
      `
Asks the first endpoint that answers who is in the cluster, and then each of those, and every endpoint. Members are
the storage nodes; a router or a membership process is a member nowhere, and shown when --endpoint names it. Exits
with 1 when one cannot be reached, when there is no ring yet, or when they do not agree on it. KEYS: as RocksDB
estimates them, too many where keys were written over lately (cartwheel keys --count counts). PARTITIONS: owned, and
how many of them as first owner. GONE: another node answers at its address, as one does whose disk was lost.

Examples:
  cartwheel status
  cartwheel status --endpoint 127.0.0.1:7400,127.0.0.1:7441
  cartwheel status --endpoint 127.0.0.1:7441 -o json`,
    )
    .action(async (_: object, command: Command) => {
      const settings = settingsOf(command);
      await withClient(settings, async (client) => {
        const asked = await client.status();
        const rows = await rowsOf(client, asked, settings.endpoints);
        const problem = problemOf(rows);
        if (settings.output === 'json') await write(json(asJson(asked, rows)));
        else await write(`${headline(asked, rows)}\n\n${table(columns, rows.map(cells))}`);
        if (problem !== undefined) throw problem;
      });
    });
}

/** The endpoints that are no members, as they were named, and then the members by address. */
async function rowsOf(client: CartwheelClient, asked: GetStatusResponse, endpoints: readonly string[]): Promise<Row[]> {
  const members = asked.members.filter((member) => member.status !== left);
  const rows = await Promise.all(
    members.map(async ({ id, address, zone, status: memberStatus }): Promise<Row> => {
      const answer = await answerOf(client, address);
      const answersAs = answer.status?.id;
      return answersAs === undefined || answersAs === id
        ? { id, address, zone, memberStatus, ...answer }
        : { id, address, zone, memberStatus, answersAs, status: undefined, problem: `node ${answersAs} answers there` };
    }),
  );
  rows.sort((a, b) => a.address.localeCompare(b.address, 'en', { numeric: true }));
  const others = await Promise.all(
    endpoints.map(async (endpoint): Promise<Row> => {
      const answer = await answerOf(client, endpoint);
      const { id = '', address = endpoint } = answer.status ?? {};
      return { id, address, zone: '', memberStatus: undefined, ...answer };
    }),
  );
  const shown = new Set(rows.flatMap(({ id, address }) => [id, address]));
  const strangers = others.filter(({ id, address }) => {
    const isNew = !shown.has(id || address);
    shown.add(id || address);
    return isNew;
  });
  return [...strangers, ...rows];
}

async function answerOf(client: CartwheelClient, address: string): Promise<Pick<Row, 'status' | 'problem'>> {
  try {
    return { status: await client.status(address), problem: undefined };
  } catch (error) {
    return { status: undefined, problem: messageOf(error) };
  }
}

function problemOf(rows: readonly Row[]): Problem | undefined {
  const gone = rows.filter((row) => row.answersAs !== undefined);
  const unreachable = rows.filter((row) => row.status === undefined);
  if (unreachable.length > 0) {
    return new Problem(
      `cannot reach ${unreachable.map((row) => away(row.answersAs === undefined ? row.address : row.id, row.problem)).join(', ')}`,
      gone[0] &&
        (gone[0].memberStatus === down
          ? 'another node takes its place: cartwheel ring status shows how far it is'
          : `if its disk is lost: cartwheel ring replace ${gone[0].address}`),
    );
  }
  const versions = new Set(rows.map((row) => versionText(row.status?.ring)));
  if (versions.size > 1)
    return new Problem(`no agreement on the ring: ${[...versions].join(', ')}`, 'ask again shortly');
  if (versions.has('none')) return new Problem('there is no ring yet', 'not all storage nodes have joined');
  return undefined;
}

function headline(asked: GetStatusResponse, rows: readonly Row[]): string {
  const reached = rows.flatMap((row) => (row.status === undefined ? [] : [versionText(row.status.ring)]));
  const agreeing = reached.filter((version) => version === versionText(asked.ring)).length;
  const members = rows.filter((row) => row.memberStatus !== undefined).length;
  const waiting = asked.claimant?.waitingFor ?? '';
  return [
    `cluster  ${asked.clusterId || 'not formed yet'}`,
    `ring     ${versionText(asked.ring)}: ${plural(asked.partitions, 'partition')}, ${plural(asked.replicas, 'replica')}; ` +
      `${agreeing} of ${rows.length} agree`,
    `members  ${members}`,
    ...(waiting === '' ? [] : [`waiting  ${waiting}`]),
  ].join('\n');
}

function cells({ id, address, zone, memberStatus, status, problem, answersAs }: Row): string[] {
  const storage = status?.storage;
  return [
    address,
    kinds[status?.kind ?? (memberStatus === undefined ? 0 : 1)] ?? '?',
    id || '-',
    zone || '-',
    problem === undefined ? stateOf(memberStatus, storage?.acceptingWrites) : answersAs ? 'GONE' : 'UNREACHABLE',
    status === undefined ? '?' : versionText(status.ring),
    storage === undefined ? '-' : count(storage.keysEstimated),
    storage === undefined ? '-' : bytes(Number(storage.diskBytes)),
    storage === undefined ? '-' : `${storage.partitions} (${storage.primaryPartitions})`,
    status === undefined ? '-' : duration(Number(status.uptimeMs) / 1000),
  ];
}

function stateOf(memberStatus: number | undefined, acceptingWrites: boolean | undefined): string {
  const state = memberStatus === undefined ? 'up' : statusName(memberStatus);
  return acceptingWrites === false ? `${state}, REFUSES WRITES` : state;
}

function versionText(version: RingVersion | undefined): string {
  return version === undefined ? 'none' : `${version.term}.${version.sequence}`;
}

function asJson(asked: GetStatusResponse, rows: readonly Row[]): object {
  return {
    clusterId: asked.clusterId,
    ring: asked.ring,
    partitions: asked.partitions,
    replicas: asked.replicas,
    agreed: new Set(rows.map((row) => versionText(row.status?.ring))).size === 1 && asked.ring !== undefined,
    processes: rows.map(({ id, address, zone, memberStatus, status, problem }) => ({
      id,
      address,
      zone,
      reachable: problem === undefined,
      ...(problem === undefined ? {} : { problem }),
      ...(memberStatus === undefined ? {} : { memberStatus: statusName(memberStatus) }),
      ...(status === undefined
        ? {}
        : {
            kind: kinds[status.kind],
            ring: status.ring,
            uptimeMs: status.uptimeMs,
            version: status.version,
          }),
      ...(status?.storage === undefined ? {} : { storage: status.storage }),
      ...(status?.claimant === undefined ? {} : { claimant: status.claimant }),
      ...(status === undefined ? {} : { peers: status.peers }),
    })),
  };
}
