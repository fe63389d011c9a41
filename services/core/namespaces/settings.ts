/**
 * What an operator may ask of a namespace: settings as they come from outside, made into a value that the rest can
 * trust. Every check throws a Failure that names the field, the limit and what was seen.
 */
import type { NamespaceSettings } from '../../../proto/gen/cartwheel/admin/v1/admin.ts';
import type { Duration } from '../../../proto/gen/google/protobuf/duration.ts';
import { durationMsMax, millisecondsOf } from '../codec/duration.ts';
import { Failure } from '../failure.ts';
import { durabilityOf, resolutionOf } from './codec.ts';
import { builtInNamespace, type Namespace, namespaceName } from './namespace.ts';

/** Throws Failure NAMESPACE_INVALID. */
export function checkNamespaceName(name: string, field = 'namespace'): void {
  if (namespaceName.test(name)) return;
  const seen = JSON.stringify(name.slice(0, 80));
  const message = `namespace ${seen} is none: 1 to 63 of a-z 0-9 . _ - are, the first a letter or digit`;
  throw new Failure('NAMESPACE_INVALID', message, { field });
}

/** A new namespace; what is not said is as in the one that is built in. `replicas`: N. */
export function createdNamespace(name: string, settings: NamespaceSettings | undefined, replicas: number): Namespace {
  checkNamespaceName(name, 'name');
  return withSettings({ ...builtInNamespace, name, version: 1 }, settings, replicas);
}

/** The next version of `known`; what is not said stays. */
export function alteredNamespace(
  known: Namespace,
  settings: NamespaceSettings | undefined,
  replicas: number,
): Namespace {
  const altered = withSettings({ ...known, version: known.version + 1 }, settings, replicas);
  if (altered.resolution !== known.resolution) {
    const message = `resolution of namespace ${known.name} is ${known.resolution}, and is chosen once: it cannot become ${altered.resolution}`;
    throw new Failure('NAMESPACE_INVALID', message, { field: 'settings.resolution' });
  }
  return altered;
}

function withSettings(base: Namespace, settings: NamespaceSettings | undefined, replicas: number): Namespace {
  if (settings === undefined) return base;
  const { ttl, losersKept, strict = base.strict, readAllProbability = base.readAllProbability } = settings;
  if (!(readAllProbability >= 0 && readAllProbability <= 1)) {
    const message = `read_all_probability is ${readAllProbability}; it can be 0 to 1`;
    throw new Failure('NAMESPACE_INVALID', message, { field: 'settings.read_all_probability' });
  }
  return {
    ...base,
    r: checkedQuorum('r', settings.r ?? base.r, replicas),
    w: checkedQuorum('w', settings.w ?? base.w, replicas),
    durability: settings.durability === 0 ? base.durability : checkedDurability(settings.durability),
    resolution: settings.resolution === 0 ? base.resolution : checkedResolution(settings.resolution),
    ttlMs: ttl === undefined ? base.ttlMs : checkedDuration('ttl', ttl),
    strict,
    readAllProbability,
    losersKeptMs: losersKept === undefined ? base.losersKeptMs : checkedDuration('losers_kept', losersKept),
  };
}

function checkedQuorum(name: 'r' | 'w', value: number, replicas: number): number {
  if (value <= replicas) return value;
  const message = `${name} is ${value}; it can be 1 to ${replicas}, or 0 for a majority`;
  throw new Failure('QUORUM_INVALID', message, { field: `settings.${name}` });
}

function checkedDurability(number: number) {
  const durability = durabilityOf(number);
  if (durability !== undefined) return durability;
  throw new Failure('DURABILITY_INVALID', `durability ${number} is none; 0 to 3 are`, { field: 'settings.durability' });
}

function checkedResolution(number: number) {
  const resolution = resolutionOf(number);
  if (resolution !== undefined) return resolution;
  const message = `resolution ${number} is none; 0 to 2 are`;
  throw new Failure('NAMESPACE_INVALID', message, { field: 'settings.resolution' });
}

function checkedDuration(name: 'ttl' | 'losers_kept', duration: Duration): number {
  const ms = millisecondsOf(duration);
  if (ms >= 0 && ms <= durationMsMax) return ms;
  const message = `${name} is ${duration.seconds} s and ${duration.nanos} ns; it can be from 0 (none) to 10 years`;
  throw new Failure('TTL_INVALID', message, { field: `settings.${name}` });
}
