/**
 * What moves with a partition beside its records: the requests that its owners remember (request-table.ts), and the values
 * that lost there (losers.ts). Listed by an owner, pulled by whoever takes the partition over, after its records. Requests
 * are also given to the owners by whoever else remembers some, with what it hands back (hand-back.ts): a node that was away
 * when the partition moved, or stood in for a home. Who is told takes them in by learn-requests.ts.
 *
 * I1 A request is remembered here only where the record here has what its write made, or something that came after it:
 *    whoever recalls it (recall.ts) takes the write for made. Or where its write was covered and let go by all homes.
 * I2 An owner lists only once it refuses what was placed by an older ring (core/ring/fences.ts), and when that is in the
 *    engine: what comes by the newer ring comes to the pending node too, with its request.
 */
import type {
  ExchangeResponse,
  ListLosses,
  ListRequests,
  RememberedRequest,
} from '../../proto/gen/cartwheel/replica/v1/replica.ts';
import { rangeOfPartition } from '../core/ring/partition.ts';
import { lostDot } from './losers.ts';
import type { StorageNode } from './node.ts';
import { isBehind } from './record-lists.ts';
import type { ListedRequest } from './request-table.ts';

type Listed<T extends keyof ExchangeResponse> = Pick<ExchangeResponse, 'behind' | 'next' | T>;

export async function listRequests(
  { ring, store, requests: table }: Pick<StorageNode, 'ring' | 'store' | 'requests'>,
  asked: ListRequests,
): Promise<Listed<'requests'>> {
  if (isBehind(ring(), asked)) return { behind: true, next: Buffer.alloc(0), requests: [] };
  await store.flush();
  const range = rangeOfPartition(asked.partition, asked.partitions);
  const { requests, next } = await table.list(range, asked.from.length === 0 ? undefined : asked.from);
  return {
    behind: false,
    next: Buffer.from(next ?? []),
    requests: requests.map(encodeRequest),
  };
}

export async function listLosses(
  { ring, store, losers }: Pick<StorageNode, 'ring' | 'store' | 'losers'>,
  asked: ListLosses,
): Promise<Listed<'losses'>> {
  if (isBehind(ring(), asked)) return { behind: true, next: Buffer.alloc(0), losses: [] };
  await store.flush();
  const from = asked.from.length === 0 ? undefined : asked.from;
  const { losses, next } = await losers.list(new Set(asked.of), asked.partitions, from);
  const encoded = losses.map(({ key, value }) => ({ key: Buffer.from(key), value: Buffer.from(value) }));
  return { behind: false, next: Buffer.from(next ?? []), losses: encoded };
}

export function encodeRequest({ hash, id, dot, isSettled }: ListedRequest): RememberedRequest {
  return { hash, id: Buffer.from(id), dotActor: dot.actor, dotCounter: BigInt(dot.counter), settled: isSettled };
}

/** Dots of what has lost in the partitions, and is known here. */
export async function ownLosses(
  { losers }: Pick<StorageNode, 'losers'>,
  of: readonly number[],
  partitions: number,
): Promise<Set<string>> {
  const wanted = new Set(of);
  const known = new Set<string>();
  let from: Uint8Array | undefined;
  do {
    const page = await losers.list(wanted, partitions, from);
    for (const loss of page.losses) known.add(lostDot(loss));
    from = page.next;
  } while (from !== undefined);
  return known;
}
