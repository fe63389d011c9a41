/** Namespaces as a router serves them: it keeps nothing, so it asks one storage node after the other. */
import { Failure } from '../../core/failure.ts';
import { type AdminCall, callAdmin, namespaceTimeoutMs } from '../routing/admin-call.ts';
import type { NamespaceAdmin } from './namespace-admin.ts';

/** `addresses`: of storage nodes; throws Failure NO_RING where none is known. */
export function createForwardingNamespaceAdmin(addresses: () => readonly string[]): NamespaceAdmin {
  async function ask<T>(call: AdminCall<T>): Promise<T> {
    let failure = new Failure('NOT_ENOUGH_REPLICAS', 'there is no storage node');
    for (const address of addresses()) {
      try {
        return await callAdmin(address, namespaceTimeoutMs, call);
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        failure = error;
        // Where it may have been done another node would be asked to do it again.
        if (error.reason !== 'NOT_ENOUGH_REPLICAS' || error.outcome === 'UNKNOWN') break;
      }
    }
    throw failure;
  }

  return {
    create: (request) => ask((client, ...rest) => client.createNamespace(request, ...rest)),
    alter: (request) => ask((client, ...rest) => client.alterNamespace(request, ...rest)),
    list: () => ask((client, ...rest) => client.listNamespaces({}, ...rest)),
  };
}
