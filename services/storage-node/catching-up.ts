/**
 * Whether a node that has just started has been given what others kept for it while it was away. Until then it is not ready, so
 * that whoever restarts nodes one after the other (a StatefulSet; an eviction that has to keep to a PodDisruptionBudget) goes on
 * to the next one only when this one has its replicas again. It serves meanwhile: readiness decides about nothing else.
 *
 * I1 Who does not answer is not waited for: it could not deliver either.
 * I2 Once it has caught up it stays so for as long as the process runs: what it misses from then on is hinted and handed over
 *    by the moment, and readiness that comes and goes with it would stop upgrades for nothing.
 * I3 After `patienceMs` it is taken for caught up whatever it is owed: a delivery that is stuck is for an alert to say
 *    (CartwheelHandoffStuck), and must not keep an upgrade that may be the cure.
 */
import type { HintStatus } from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import type { Clock, Log } from '../core/ports.ts';
import { nameOfNode, nodeById, type Ring } from '../core/ring/ring.ts';
import type { StatusTarget } from '../platform/read-statuses.ts';

const askEveryMs = 500;

export interface CatchingUp {
  /** Why it has not; undefined: it has. */
  behind(): string | undefined;
  stop(): void;
}

export interface CatchingUpOptions {
  readonly id: string;
  /** From the start; 0: it never waits. */
  readonly patienceMs: number;
  readonly clock: Pick<Clock, 'now' | 'after'>;
  readonly log: Log;
  ring(): Ring | undefined;
  /** What the others say they keep for whom, by node; who does not answer is not in it. */
  ask(others: readonly StatusTarget[]): Promise<ReadonlyMap<string, { readonly hints: readonly HintStatus[] }>>;
}

export function watchCatchingUp({ id, patienceMs, clock, log, ring, ask }: CatchingUpOptions): CatchingUp {
  const startedAt = clock.now();
  let reason: string | undefined = patienceMs === 0 ? undefined : 'no node was asked yet what it keeps for this one';
  let cancel = () => {};
  let stopped = false;

  async function look(): Promise<void> {
    const known = ring();
    if (known !== undefined) {
      const others = known.nodes.filter((node) => node.id !== id && node.status !== 'LEFT');
      // A node that is not in the ring is owed nothing.
      const owed = nodeById(known, id) === undefined ? [] : owedTo(known, id, await ask(others));
      if (stopped) return;
      reason = owed.length === 0 ? undefined : `others still keep for it: ${owed.join(', ')}`;
    }
    const ms = clock.now() - startedAt;
    if (reason !== undefined && ms < patienceMs) {
      cancel = clock.after(askEveryMs, () => void look());
    } else {
      if (reason === undefined)
        log.info({ ms: Math.round(ms) }, 'caught up: nobody who answers keeps anything for this node');
      else log.warn({ ms: Math.round(ms), reason }, 'not caught up, and ready all the same: it has taken too long');
      reason = undefined;
    }
  }

  if (reason !== undefined) void look();
  return {
    behind: () => reason,
    stop() {
      stopped = true;
      cancel();
    },
  };
}

function owedTo(
  ring: Ring,
  id: string,
  statuses: ReadonlyMap<string, { readonly hints: readonly HintStatus[] }>,
): string[] {
  return [...statuses].flatMap(([by, { hints }]) =>
    hints.flatMap(({ nodeId, hints: records, markedPartitions }) =>
      nodeId === id && (records > 0n || markedPartitions > 0)
        ? [`${records} records and ${markedPartitions} partitions to compare at ${nameOfNode(ring, by)}`]
        : [],
    ),
  );
}
