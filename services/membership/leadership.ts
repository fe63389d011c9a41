/**
 * Runs the election of the claimant over a Lease of Kubernetes (core/membership/election.ts decides): looks at the lease
 * every LOOK_INTERVAL_MS, takes or renews it, and has `begin` claim for as long as it is held.
 *
 * I1 A claimant is begun only after the one before it, of this process, has ended.
 */
import {
  createElection,
  heldTerm,
  LEASE_MS,
  type LeaseWrite,
  LOOK_INTERVAL_MS,
  look,
  lost,
  written,
} from '../core/membership/election.ts';
import type { Clock, Log } from '../core/ports.ts';
import type { KeptLease, Kubernetes } from '../platform/kubernetes/api.ts';
import { sparingly } from '../platform/logging.ts';
import type { Mandate } from './claim-loop.ts';

/** What is done by who holds the lease. */
export interface Tenure {
  /** It found out that it cannot go on: the lease is given back, and taken again with a higher term. */
  isSuperseded(): boolean;
  /** Resolves when it issues nothing any more. */
  stop(): Promise<void>;
}

export interface LeadershipOptions {
  readonly kubernetes: Pick<Kubernetes, 'lease' | 'replaceLease'>;
  readonly lease: string;
  /** Who this is, for people and for itself: another one in every life. */
  readonly self: string;
  /** Of the ring known here; 0: none. */
  readonly ringTerm: () => bigint;
  readonly begin: (mandate: Mandate) => Promise<Tenure>;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Leadership {
  isHeld(): boolean;
  /** Gives the lease back, so that another one need not wait for its end. */
  stop(): Promise<void>;
}

export function startLeadership(options: LeadershipOptions): Leadership {
  const { kubernetes, clock, log } = options;
  const quietly = sparingly(log, clock.now);
  let election = createElection(options.self);
  let tenure: Tenure | undefined;
  /** Of the tenure. */
  let term: bigint | undefined;
  let isStopped = false;
  let wake = () => {};

  const held = () => heldTerm(election, clock.now());

  /** Whether it was as it had been read. */
  async function write(lease: KeptLease, next: LeaseWrite): Promise<boolean> {
    try {
      await kubernetes.replaceLease(lease, next, LEASE_MS);
      return true;
    } catch (error) {
      quietly.warn({ err: error, lease: lease.name }, 'the lease could not be written');
      return false;
    }
  }

  async function turn(): Promise<void> {
    const lease = await kubernetes.lease(options.lease);
    const [next, wanted] = look(election, lease, options.ringTerm(), clock.now());
    election = next;
    if (wanted !== undefined) {
      const begun = clock.now();
      if (await write(lease, wanted)) election = written(election, wanted, begun);
    }
    if (tenure !== undefined && held() !== term) await end('the lease is held no more');
    if (tenure?.isSuperseded() === true) return resign('another claimant has been at work');
    const elected = held();
    if (tenure === undefined && elected !== undefined && !isStopped) await begin(elected, lease.uid);
  }

  async function begin(elected: bigint, uid: string): Promise<void> {
    log.info({ term: elected, self: options.self }, 'elected as the claimant');
    const mandate = { term: elected, clusterId: uid.replaceAll('-', ''), isHeld: () => held() === elected };
    tenure = await options.begin(mandate);
    term = elected;
  }

  async function end(cause: string): Promise<void> {
    log.info({ cause, self: options.self }, 'not the claimant any more');
    const ending = tenure;
    tenure = undefined;
    await ending?.stop();
  }

  async function resign(cause: string): Promise<void> {
    if (tenure !== undefined) await end(cause);
    election = lost(election);
    const lease = await kubernetes.lease(options.lease);
    if (lease.holder === options.self) await write(lease, { holder: '', term: lease.term });
  }

  async function loop(): Promise<void> {
    while (!isStopped) {
      try {
        await turn();
      } catch (error) {
        quietly.warn({ err: error, lease: options.lease }, 'the lease could not be looked at');
        if (tenure !== undefined && held() !== term) await end('the lease could not be renewed');
      }
      if (isStopped) return;
      await new Promise<void>((resolve) => {
        const cancel = clock.after(LOOK_INTERVAL_MS, resolve);
        wake = () => {
          cancel();
          resolve();
        };
      });
    }
  }

  const looping = loop();
  return {
    isHeld: () => tenure !== undefined && held() === term,
    async stop() {
      isStopped = true;
      wake();
      await looping;
      await resign('the process stops').catch((error: unknown) => {
        log.warn({ err: error }, 'the lease was not given back: the next claimant waits for its end');
      });
    },
  };
}
