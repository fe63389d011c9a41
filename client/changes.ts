/** Changes of the ring as operators see them: planned, committed and watched at the claimant. */
import {
  ChangeControl,
  type GetStatusResponse,
  type PlanChangeRequest,
  type PlanChangeResponse,
  type PlanDoublingResponse,
} from '../proto/gen/cartwheel/admin/v1/admin.ts';
import { Failure } from '../services/core/failure.ts';
import { type AdminCall, callAdmin, statusTimeoutMs } from '../services/platform/routing/admin-call.ts';
import { OperationFailed } from './operation-failed.ts';

/** Every method throws OperationFailed. One of the endpoints must be the claimant; the others are passed over. */
export interface ChangesClient {
  /** What a change would move. Nodes are named by id or address; nothing at all: to even what nodes own. */
  plan(request: Partial<PlanChangeRequest>): Promise<PlanChangeResponse>;
  /** What twice as many partitions would be. */
  planDoubling(): Promise<PlanDoublingResponse>;
  commit(planId: string): Promise<void>;
  control(what: 'PAUSE' | 'RESUME' | 'ROLL_BACK'): Promise<void>;
  /** Of the claimant: `claimant.change` while a change is under way. */
  status(): Promise<GetStatusResponse>;
}

/** The claimant asks every node for its status, and ends the step that it is in. */
const changeTimeoutMs = 15_000;
const noChange: PlanChangeRequest = { join: [], joinAll: false, leave: [], replace: [], down: [] };

export function changesClient(endpoints: readonly string[]): ChangesClient {
  const call = <T>(make: AdminCall<T>) => fromClaimant((address) => callAdmin(address, changeTimeoutMs, make));

  async function fromClaimant<T>(ask: (address: string) => Promise<T>): Promise<T> {
    const others: Failure[] = [];
    for (const address of endpoints) {
      try {
        return await ask(address);
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        if (error.reason !== 'NOT_IMPLEMENTED' && error.reason !== 'NOT_ENOUGH_REPLICAS')
          throw new OperationFailed(error);
        others.push(error);
      }
    }
    // One that does not answer may be the claimant; the others have said that they are not.
    const silent = others.filter(({ reason }) => reason === 'NOT_ENOUGH_REPLICAS');
    const inOrder = [...silent, ...others.filter((failure) => !silent.includes(failure))];
    const { reason, details } = inOrder[0] as Failure;
    throw new OperationFailed(new Failure(reason, inOrder.map(({ message }) => message).join('; '), details));
  }

  return {
    plan: (request) => call((on, ...rest) => on.planChange({ ...noChange, ...request }, ...rest)),
    planDoubling: () => call((on, ...rest) => on.planDoubling({}, ...rest)),
    async commit(planId) {
      await call((on, ...rest) => on.commitChange({ planId }, ...rest));
    },
    async control(what) {
      await call((on, ...rest) => on.controlChange({ control: ChangeControl[what] }, ...rest));
    },
    status: () =>
      fromClaimant(async (address) => {
        const status = await callAdmin<GetStatusResponse>(address, statusTimeoutMs, (on, ...rest) =>
          on.getStatus({}, ...rest),
        );
        if (status.claimant?.active === true) return status;
        throw new Failure('NOT_IMPLEMENTED', `${address} is not the claimant, which alone changes the ring`);
      }),
  };
}
