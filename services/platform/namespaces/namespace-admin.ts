/**
 * Creating, altering and listing namespaces, on a process that gossips and keeps what it knows on its disk.
 *
 *     hear from everyone → decide → durable here → tell everyone → still the newest?
 *
 * I1 One change at a time here. Two changes on two processes at one time both begin from the same version; one of
 *    them wins everywhere (core/namespaces/namespace.ts), and the other is answered NAMESPACE_CONFLICT where its
 *    process hears of it in time.
 * I2 When a change is answered it is on the disk of this process, and known to all that are named.
 */
import type {
  AlterNamespaceRequest,
  CreateNamespaceRequest,
  CreateNamespaceResponse,
  ListNamespacesResponse,
} from '../../../proto/gen/cartwheel/admin/v1/admin.ts';
import { Failure } from '../../core/failure.ts';
import { ownEntry } from '../../core/membership/membership.ts';
import { encodeNamespace } from '../../core/namespaces/codec.ts';
import {
  findNamespace,
  listNamespaces,
  type Namespace,
  namespacesMax,
  sameSettings,
} from '../../core/namespaces/namespace.ts';
import { alteredNamespace, checkNamespaceName, createdNamespace } from '../../core/namespaces/settings.ts';
import { currentRing } from '../../core/ring/current-ring.ts';
import type { Gossip } from '../gossip/gossip.ts';

/** Both kinds of change are answered alike. */
export type ChangedNamespace = CreateNamespaceResponse;

/** Everything may throw Failure. */
export interface NamespaceAdmin {
  create(request: CreateNamespaceRequest): Promise<ChangedNamespace>;
  alter(request: AlterNamespaceRequest): Promise<ChangedNamespace>;
  list(): Promise<ListNamespacesResponse>;
}

export function createNamespaceAdmin(gossip: Pick<Gossip, 'state' | 'issueNamespace' | 'reachAll'>): NamespaceAdmin {
  let last: Promise<unknown> = Promise.resolve();
  const known = (name: string) => findNamespace(gossip.state().namespaces, name);
  const replicas = () => currentRing({ ring: () => gossip.state().ring }).replicas;

  /** `decide` gets what is known of the name, by everyone that can be reached. */
  function change(name: string, decide: (before: Namespace | undefined) => Namespace): Promise<ChangedNamespace> {
    const changed = last.then(async () => {
      await gossip.reachAll();
      const before = known(name);
      const wanted = decide(before);
      if (wanted !== before) await gossip.issueNamespace(wanted);
      const { reached, notReached } = await gossip.reachAll();
      const after = known(name);
      if (after === undefined) throw tooMany();
      if (!sameSettings(after, wanted)) {
        const message = `namespace ${name} was changed by somebody else in the same moment, and is at version ${after.version} now`;
        throw new Failure('NAMESPACE_CONFLICT', message, { outcome: 'UNKNOWN' });
      }
      const own = ownEntry(gossip.state());
      const knownBy = own === undefined ? [...reached] : [own.id, ...reached];
      return { namespace: encodeNamespace(after), spread: { knownBy, notReached: [...notReached] } };
    });
    last = changed.catch(() => {});
    return changed;
  }

  return {
    async create({ name, settings }) {
      const wanted = createdNamespace(name, settings, replicas());
      return change(name, (before) => {
        if (before === undefined) {
          if (gossip.state().namespaces.size >= namespacesMax) throw tooMany();
          return wanted;
        }
        // The same request again, because its answer was lost: it is done.
        if (sameSettings(before, wanted) && before.version === wanted.version) return before;
        throw new Failure('NAMESPACE_EXISTS', `there is a namespace ${name} already, at version ${before.version}`, {
          field: 'name',
        });
      });
    },

    async alter({ name, settings, expectedVersion }) {
      checkNamespaceName(name, 'name');
      const n = replicas();
      return change(name, (before) => {
        if (before === undefined) {
          throw new Failure('NAMESPACE_UNKNOWN', `there is no namespace ${name}`, { field: 'name' });
        }
        if (expectedVersion !== undefined && expectedVersion !== before.version) {
          const message = `namespace ${name} is at version ${before.version}, and ${expectedVersion} was expected`;
          throw new Failure('NAMESPACE_CONFLICT', message, { field: 'expected_version' });
        }
        const altered = alteredNamespace(before, settings, n);
        return sameSettings(before, altered) ? before : altered;
      });
    },

    async list() {
      return { namespaces: listNamespaces(gossip.state().namespaces).map(encodeNamespace) };
    },
  };
}

function tooMany(): Failure {
  return new Failure('OVERLOADED', `there are ${namespacesMax} namespaces, the limit`);
}
