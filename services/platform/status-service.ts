/** AdminService, as every process serves it: what the process is, what it knows of the cluster, and the namespaces. */
import {
  AdminServiceService,
  type AlterNamespaceRequest,
  type ClaimantStatus,
  type CommitChangeRequest,
  type CommitChangeResponse,
  type ControlChangeRequest,
  type ControlChangeResponse,
  type CreateNamespaceRequest,
  type HintStatus,
  type ListHotKeysRequest,
  type ListLosersRequest,
  type ListLosersResponse,
  type PeerStatus,
  type PlanChangeRequest,
  type PlanChangeResponse,
  type PlanDoublingResponse,
  type ProcessKind,
  type RepairStatus,
  type StorageStatus,
  type TaskStatus,
} from '../../proto/gen/cartwheel/admin/v1/admin.ts';
import { Failure } from '../core/failure.ts';
import { encodeMember } from '../core/membership/member.ts';
import type { Clock, Log } from '../core/ports.ts';
import { encodeVersion } from '../core/ring/codec.ts';
import type { Gossip } from './gossip/gossip.ts';
import { type GrpcService, unary } from './grpc-server.ts';
import type { HotKeys } from './hot-keys.ts';
import type { NamespaceAdmin } from './namespaces/namespace-admin.ts';
import { softwareVersion } from './version.ts';

export interface StatusOptions {
  readonly kind: ProcessKind;
  readonly id: string;
  readonly address: string;
  readonly gossip: Pick<Gossip, 'state' | 'ring'>;
  readonly namespaces: NamespaceAdmin;
  readonly clock: Clock;
  readonly log: Log;
  peers?(): readonly PeerStatus[];
  storage?(): Omit<StorageStatus, 'pulled' | 'retiringPartitions'>;
  /** Partitions that are pending for this node by the ring of `gossip`, and that it has pulled from all owners. */
  pulled?(): readonly number[];
  /** How many partitions it holds records of, and is no owner of nor pending for. */
  retiring?(): number;
  hints?(): Promise<HintStatus[]>;
  repair?(): RepairStatus;
  tasks?(): TaskStatus[];
  losers?(request: ListLosersRequest): Promise<ListLosersResponse>;
  /** Of what serves keys. */
  readonly hotKeys?: HotKeys;
  claimant?(): ClaimantStatus;
  /** Of the claimant. */
  readonly changes?: RingChanges | undefined;
}

const hotKeysDefault = 10;
const hotKeysMax = 256;

/** Everything may throw Failure. */
export interface RingChanges {
  plan(request: PlanChangeRequest): Promise<PlanChangeResponse>;
  planDoubling(): Promise<PlanDoublingResponse>;
  commit(request: CommitChangeRequest): Promise<CommitChangeResponse>;
  control(request: ControlChangeRequest): Promise<ControlChangeResponse>;
}

export function statusService(options: StatusOptions): GrpcService {
  const { kind, id, address, gossip, namespaces, clock, log } = options;
  const startedAt = clock.now();
  return {
    definition: AdminServiceService,
    implementation: {
      getStatus: unary(log, async () => {
        const { clusterId, members } = gossip.state();
        // Not the newest heard of: what is said of partitions below is by this one, and it outlasts a crash.
        const ring = gossip.ring();
        const storage = storageStatus(options);
        const hints = (await options.hints?.()) ?? [];
        // What is owed to a home that has left becomes a leftover meanwhile, and what is left over may come to be owed: who
        // counts both must meet it in one of them, or a node is taken for empty that is not.
        if (storage !== undefined)
          storage.retiringPartitions = Math.max(storage.retiringPartitions, options.retiring?.() ?? 0);
        return {
          kind,
          id,
          address,
          version: softwareVersion,
          uptimeMs: BigInt(Math.floor(clock.now() - startedAt)),
          clusterId,
          ring: ring && encodeVersion(ring.version),
          partitions: ring?.partitions ?? 0,
          replicas: ring?.replicas ?? 0,
          members: [...members.values()].map(encodeMember),
          peers: options.peers?.() ?? [],
          storage,
          claimant: options.claimant?.(),
          hints,
          repair: options.repair?.(),
          tasks: options.tasks?.() ?? [],
        };
      }),
      createNamespace: unary(log, (request: CreateNamespaceRequest) => namespaces.create(request)),
      alterNamespace: unary(log, (request: AlterNamespaceRequest) => namespaces.alter(request)),
      listNamespaces: unary(log, () => namespaces.list()),
      listLosers: unary(log, async (request: ListLosersRequest) => {
        if (options.losers !== undefined) return options.losers(request);
        throw new Failure('NOT_IMPLEMENTED', 'only storage nodes keep values that lost; ask each of them');
      }),
      listHotKeys: unary(log, async ({ limit }: ListHotKeysRequest) => {
        if (options.hotKeys === undefined)
          throw new Failure('NOT_IMPLEMENTED', 'only routers and storage nodes are asked for keys; ask one of them');
        const keys = options.hotKeys.top(limit === 0 ? hotKeysDefault : Math.min(limit, hotKeysMax));
        return { keys: keys.map((hot) => ({ ...hot, key: Buffer.from(hot.key) })) };
      }),
      planChange: unary(log, async (request: PlanChangeRequest) => changesOf(options).plan(request)),
      planDoubling: unary(log, async () => changesOf(options).planDoubling()),
      commitChange: unary(log, async (request: CommitChangeRequest) => changesOf(options).commit(request)),
      controlChange: unary(log, async (request: ControlChangeRequest) => changesOf(options).control(request)),
    },
  };
}

function changesOf({ changes }: StatusOptions): RingChanges {
  if (changes !== undefined) return changes;
  throw new Failure('NOT_IMPLEMENTED', 'only the claimant, one of the membership processes, changes the ring; ask it');
}

function storageStatus({ storage, pulled, retiring }: StatusOptions): StorageStatus | undefined {
  if (storage === undefined) return undefined;
  return { ...storage(), pulled: [...(pulled?.() ?? [])], retiringPartitions: retiring?.() ?? 0 };
}
