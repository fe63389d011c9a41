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

/**
 * Which of `spare`, in their order, have to be asked beside `asked`, so that all of them together would be enough hosts
 * and zones; none where they are already, or never would be.
 */
export function wantedBeside<S extends Site>(
  require: Pick<Placement, 'hosts' | 'zones'>,
  asked: readonly Site[],
  spare: readonly S[],
): readonly S[] {
  const wanted: S[] = [];
  for (const site of spare) {
    const all = [...asked, ...wanted];
    if (isSpread(require, all)) return wanted;
    const brings = (what: 'host' | 'zone', count: number) =>
      distinct(all, what) < count && all.every((other) => other[what] !== site[what]);
    if (brings('host', require.hosts) || brings('zone', require.zones)) wanted.push(site);
  }
  return isSpread(require, [...asked, ...wanted]) ? wanted : [];
}

/** For people: what is wanted, and what there is. */
export function spreadText({ hosts, zones }: Pick<Placement, 'hosts' | 'zones'>, sites: readonly Site[]): string {
  return `${hosts} hosts and ${zones} zones are wanted, ${distinct(sites, 'host')} hosts and ${distinct(sites, 'zone')} zones are there`;
}

function distinct(sites: readonly Site[], what: 'host' | 'zone'): number {
  return new Set(sites.map((site) => site[what])).size;
}
