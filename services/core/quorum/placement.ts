/** Placement requirements of a put: on how many disks, hosts and zones it must be before it is acknowledged. */
import type { Placement } from '../../../proto/gen/cartwheel/kv/v1/kv.ts';

/** Where a replica is. */
export interface Site {
  readonly host: string;
  readonly zone: string;
}

export interface AckSite extends Site {
  readonly durable: boolean;
}

export function isMet({ durable, hosts, zones }: Placement, acks: readonly AckSite[]): boolean {
  return acks.filter((ack) => ack.durable).length >= durable && isSpread({ hosts, zones }, acks);
}

/** Whether these nodes, if all of them acknowledged, would be enough hosts and zones. */
export function isSpread({ hosts, zones }: Pick<Placement, 'hosts' | 'zones'>, sites: readonly Site[]): boolean {
  return distinct(sites, 'host') >= hosts && distinct(sites, 'zone') >= zones;
}

/** For people: what is wanted, and what there is. */
export function spreadText({ hosts, zones }: Pick<Placement, 'hosts' | 'zones'>, sites: readonly Site[]): string {
  return `${hosts} hosts and ${zones} zones are wanted, ${distinct(sites, 'host')} hosts and ${distinct(sites, 'zone')} zones are there`;
}

function distinct(sites: readonly Site[], what: 'host' | 'zone'): number {
  return new Set(sites.map((site) => site[what])).size;
}
