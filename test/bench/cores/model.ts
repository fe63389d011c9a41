/**
 * How much a host of many processors gives, from what an operation costs. Pure.
 *
 * A process has one thread that runs its event loop; what else it does (syncs, reads from the disk, compaction, garbage
 * collection) runs beside. So a process is at its end when its event loop is busy all the time, and a host when all of
 * its processors are.
 */
export interface OperationCost {
  /** µs of CPU of all server processes together. */
  readonly servers: number;
  /** Of that, on the event loops. */
  readonly eventLoops: number;
  /** µs of CPU of whoever asks; on one thread. */
  readonly client: number;
}

export interface Machine {
  readonly processors: number;
  /** Its own; those of the servers are what is left of them. */
  readonly clientProcessors: 'own' | 'shared';
  /** Event loops that share the work evenly. */
  readonly eventLoops: number;
}

/** Operations a second at most. */
export function mostOperations(cost: OperationCost, { processors, clientProcessors, eventLoops }: Machine): number {
  const work = clientProcessors === 'shared' ? cost.servers + cost.client : cost.servers;
  return Math.min((processors * 1e6) / work, (eventLoops * 1e6) / cost.eventLoops, 1e6 / cost.client);
}

/** Processes that keep a host of so many processors busy. */
export function processesFor(processors: number, { servers, eventLoops }: OperationCost): number {
  return Math.ceil((processors * eventLoops) / servers);
}
