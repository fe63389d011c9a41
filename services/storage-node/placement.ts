/**
 * What the acknowledgement of one put has to rest on beside W replicas: who is asked to sync, and whether enough
 * disks, hosts and zones have it.
 */
import type { Receipt } from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../core/failure.ts';
import { isMet, isSpread, spreadText, wantedBeside } from '../core/quorum/placement.ts';
import type { Selection } from '../core/quorum/sloppy.ts';
import type { ValidWrite } from '../core/requests/validate.ts';
import { notEnoughReplicas, type Place } from './node.ts';
import type { Answer } from './quorum.ts';

/** Of those asked, who has to have it on disk to acknowledge it. A requirement of `durable` replicas asks so many. */
export function whoSyncs({ durability, require }: ValidWrite, { chosen }: Selection): 'all' | Set<string> {
  if (durability === 'DURABLE') return 'all';
  const count = Math.max(durability === 'ONE_DURABLE' ? 1 : 0, require?.durable ?? 0);
  return new Set(chosen.slice(0, count).map(({ nodeId }) => nodeId));
}

/** Before anything is written: whether the nodes of the ring, and those in reach, could meet what is required. */
export function checkPlacement(place: Place, { require, w }: ValidWrite, { chosen, spare }: Selection): void {
  if (require === undefined) return;
  const inReach = [...chosen.map(({ nodeId }) => nodeId), ...spare()];
  if (!isSpread(require, place.preference)) {
    throw new Failure('PLACEMENT_IMPOSSIBLE', spreadText(require, place.preference), { field: 'require' });
  }
  const sites = place.preference.filter(({ id }) => inReach.includes(id));
  if (!isSpread(require, sites))
    throw notEnoughReplicas(place, w, inReach.length, undefined, spreadText(require, sites));
}

/** Ids of the spare nodes to ask besides, in order: those asked could not meet it, even if all acknowledged. */
export function wantedFor(
  { preference }: Place,
  { require }: ValidWrite,
  asked: ReadonlySet<string>,
  spare: () => readonly string[],
): readonly string[] {
  if (require === undefined) return nobody;
  const inReach = spare();
  const sitesOf = (isOne: (id: string) => boolean) => preference.filter(({ id }) => isOne(id));
  const wanted = wantedBeside(
    require,
    sitesOf((id) => asked.has(id)),
    sitesOf((id) => inReach.includes(id)),
  );
  return wanted.map(({ id }) => id);
}

const nobody: readonly string[] = [];

export function isPlaced(
  { preference }: Place,
  { require }: ValidWrite,
  answers: readonly Answer<void>[],
  isSynced: (nodeId: string) => boolean,
): boolean {
  if (require === undefined) return true;
  const acks = answers.flatMap(({ nodeId }) => {
    const node = preference.find(({ id }) => id === nodeId);
    return node === undefined ? [] : [{ ...node, durable: isSynced(nodeId) }];
  });
  return isMet(require, acks);
}

export function unmet(place: Place, { require, w }: ValidWrite, receipt: Receipt): Failure {
  const reached = receipt.acks.length;
  if (require === undefined || reached < w) return notEnoughReplicas(place, w, reached, receipt);
  const durable = receipt.acks.filter((ack) => ack.durable).length;
  const sites = place.preference.filter(({ id }) => receipt.acks.some(({ nodeId }) => nodeId === id));
  const message = `${require.durable} durable are wanted, ${durable} are there; ${spreadText(require, sites)}`;
  return new Failure('PLACEMENT_UNMET', message, { outcome: 'UNKNOWN', receipt });
}
