/** Namespaces as messages of membership.proto, both ways. What comes from the wire is believed only after checking. */
import type { Durability } from '../../../proto/gen/cartwheel/kv/v1/kv.ts';
import type {
  NamespaceDigest,
  Namespace as NamespaceMessage,
  Resolution,
} from '../../../proto/gen/cartwheel/membership/v1/membership.ts';
import type { Duration } from '../../../proto/gen/google/protobuf/duration.ts';
import { durationMsMax, encodeDuration, millisecondsOf } from '../codec/duration.ts';
import { REPLICAS_MAX } from '../ring/ring.ts';
import {
  claimOf,
  type DurabilityName,
  type Namespace,
  type NamespaceClaim,
  namespaceName,
  type ResolutionName,
} from './namespace.ts';

const durabilityNumbers = { DURABLE: 1, ONE_DURABLE: 2, BUFFERED: 3 } as const satisfies Record<
  DurabilityName,
  Durability
>;
const durabilityNames: readonly (DurabilityName | undefined)[] = [undefined, 'DURABLE', 'ONE_DURABLE', 'BUFFERED'];

const resolutionNumbers = { SIBLINGS: 1, LAST_WRITER_WINS: 2 } as const satisfies Record<ResolutionName, Resolution>;
const resolutionNames: readonly (ResolutionName | undefined)[] = [undefined, 'SIBLINGS', 'LAST_WRITER_WINS'];

/** More is refused from the wire, so that what follows still fits in 32 bits. */
const versionMax = 2 ** 31;

/** Undefined where the number is none, 0 (unspecified) among them. */
export function durabilityOf(number: number): DurabilityName | undefined {
  return durabilityNames[number];
}

/** Undefined where the number is none, 0 (unspecified) among them. */
export function resolutionOf(number: number): ResolutionName | undefined {
  return resolutionNames[number];
}

export function encodeNamespace({ ttlMs, losersKeptMs, ...rest }: Namespace): NamespaceMessage {
  return {
    ...rest,
    durability: durabilityNumbers[rest.durability],
    resolution: resolutionNumbers[rest.resolution],
    ttl: ttlMs === 0 ? undefined : encodeDuration(ttlMs),
    losersKept: encodeDuration(losersKeptMs),
  };
}

/** Throws an Error that names what is wrong. */
export function decodeNamespace(message: NamespaceMessage): Namespace {
  const name = checkedName(message.name);
  const { version, r, w, strict, readAllProbability } = message;
  const durability = durabilityOf(message.durability);
  const resolution = resolutionOf(message.resolution);
  if (version < 1 || version > versionMax) {
    throw new Error(`namespace ${name} has the version ${version}, and 1 to ${versionMax} is allowed`);
  }
  if (r > REPLICAS_MAX || w > REPLICAS_MAX) {
    throw new Error(`namespace ${name} has r = ${r} and w = ${w}, and at most ${REPLICAS_MAX} is allowed`);
  }
  if (durability === undefined) throw new Error(`the durability of namespace ${name} is ${message.durability}`);
  if (resolution === undefined) throw new Error(`the resolution of namespace ${name} is ${message.resolution}`);
  if (!(readAllProbability >= 0 && readAllProbability <= 1)) {
    throw new Error(`read_all_probability of namespace ${name} is ${readAllProbability}, and 0 to 1 is allowed`);
  }
  const ttlMs = decodeDuration(message.ttl, name);
  const losersKeptMs = decodeDuration(message.losersKept, name);
  return { name, version, r, w, durability, resolution, ttlMs, strict, readAllProbability, losersKeptMs };
}

export function encodeNamespaceDigest(namespace: Namespace): NamespaceDigest {
  return { name: namespace.name, ...claimOf(namespace) };
}

/** Throws an Error that names what is wrong. */
export function decodeNamespaceDigest(message: NamespaceDigest): NamespaceClaim & { readonly name: string } {
  const { version, contentHash } = message;
  return { name: checkedName(message.name), version, contentHash };
}

function decodeDuration(message: Duration | undefined, name: string): number {
  if (message === undefined) return 0;
  const ms = millisecondsOf(message);
  if (ms >= 0 && ms <= durationMsMax) return ms;
  throw new Error(`a duration of namespace ${name} is ${message.seconds} s and ${message.nanos} ns`);
}

function checkedName(name: string): string {
  if (namespaceName.test(name)) return name;
  throw new Error(`a namespace is named ${JSON.stringify(name.slice(0, 80))}`);
}
