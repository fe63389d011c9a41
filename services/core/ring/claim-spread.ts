/**
 * How the N replicas of a partition are to be spread: for each host and each zone the least and the
 * greatest number of them that it may get. With at least N hosts, none gets two; with fewer, all get one
 * before any gets two; then zones likewise, within what the hosts allow.
 *
 * A host is in one zone. Where its nodes name several, the first of them in order counts.
 */

import { weightOf } from './ring.ts';

export interface SpreadNode {
  readonly host: string;
  readonly zone: string;
  readonly weight?: number | undefined;
}

/** What one host or zone gets of each partition. */
export interface Bounds {
  readonly least: number;
  readonly most: number;
}

export interface HostSpread extends Bounds {
  readonly nodes: readonly number[];
}

export interface ZoneSpread extends Bounds {
  readonly hosts: readonly HostSpread[];
}

export interface Spread {
  readonly zones: readonly ZoneSpread[];
  /** By node. */
  readonly hostOf: Uint16Array;
  readonly zoneOf: Uint16Array;
  readonly weights: Uint16Array;
  /** By the numbers in hostOf and zoneOf. */
  readonly hostBounds: readonly Bounds[];
  readonly zoneBounds: readonly Bounds[];
}

export function spreadOf(nodes: readonly SpreadNode[], replicas: number): Spread {
  const byHost = Map.groupBy(nodes.keys(), (index) => (nodes[index] as SpreadNode).host);
  const hosts = [...byHost.values()];
  const hostBounds = evenBounds(
    hosts.map((members) => ({ least: 0, most: members.length })),
    replicas,
  );
  const byZone = Map.groupBy(hosts.keys(), (host) => {
    const zones = (hosts[host] as number[]).map((index) => (nodes[index] as SpreadNode).zone);
    return zones.sort()[0] as string;
  });
  const zones = [...byZone.values()];
  const zoneBounds = evenBounds(
    zones.map((members) => ({
      least: sum(members.map((host) => (hostBounds[host] as Bounds).least)),
      most: sum(members.map((host) => (hostBounds[host] as Bounds).most)),
    })),
    replicas,
  );
  const hostOf = new Uint16Array(nodes.length);
  const zoneOf = new Uint16Array(nodes.length);
  zones.forEach((members, zone) => {
    for (const host of members) {
      for (const node of hosts[host] as number[]) {
        hostOf[node] = host;
        zoneOf[node] = zone;
      }
    }
  });
  return {
    zones: zones.map((members, zone) => ({
      ...(zoneBounds[zone] as Bounds),
      hosts: members.map((host) => ({
        ...(hostBounds[host] as Bounds),
        nodes: hosts[host] as number[],
      })),
    })),
    hostOf,
    zoneOf,
    weights: Uint16Array.from(nodes, weightOf),
    hostBounds,
    zoneBounds,
  };
}

/** Water-filling: all parts rise together to the least level at which they hold `total`, each within its own bounds. */
function evenBounds(parts: readonly Bounds[], total: number): Bounds[] {
  const at = (part: Bounds, level: number) => Math.min(Math.max(level, part.least), part.most);
  let level = 1;
  while (sum(parts.map((part) => at(part, level))) < total) level += 1;
  return parts.map((part) => ({
    least: at(part, level - 1),
    most: at(part, level),
  }));
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, n) => total + n, 0);
}
