/** What two storage nodes check of each other before they exchange records. */
import type { Handshake } from '../../../proto/gen/cartwheel/replica/v1/replica.ts';
import { differenceOf, encodeSettings, type Settings } from '../../core/membership/settings.ts';

/** Raised with every change of replica.proto or of the record codec that the other end would not understand. */
export const wireVersion = 1;

export interface HandshakeTerms {
  readonly nodeId: string;
  /** Empty: not known yet. */
  readonly clusterId: string;
  /** N. */
  readonly replicas: number;
  readonly settings: Settings;
}

/** Of a stream. */
export function handshakeOf(terms: HandshakeTerms, peerId: string): Handshake {
  return { ...identityOf(terms, peerId), settings: encodeSettings(terms.settings) };
}

/** Of a call beside the stream: who it is from and for. */
export function identityOf({ nodeId, clusterId, replicas }: HandshakeTerms, peerId: string): Handshake {
  return { wireVersion, clusterId, nodeId, replicas, peerId, settings: [] };
}

/** Why the other end must not be listened to, with both values; undefined where all is well. */
export function refusalOf(theirs: Handshake, ours: HandshakeTerms): string | undefined {
  if (theirs.wireVersion !== wireVersion) return `wire version ${theirs.wireVersion} there, ${wireVersion} here`;
  if (theirs.clusterId !== ours.clusterId) return `cluster id "${theirs.clusterId}" there, "${ours.clusterId}" here`;
  if (theirs.replicas !== ours.replicas) return `${theirs.replicas} replicas (N) there, ${ours.replicas} here`;
  if (theirs.peerId !== '' && theirs.peerId !== ours.nodeId)
    return `node ${theirs.peerId} was meant, this is ${ours.nodeId}`;
  return differenceOf(theirs.settings, ours.settings);
}

/** Why an answer must not be listened to: as `refusalOf`, and who was meant is known here. */
export function refusalOfWelcome(theirs: Handshake, ours: HandshakeTerms, meant: string): string | undefined {
  if (theirs.nodeId !== meant) return `node ${meant} was meant, that is ${theirs.nodeId}`;
  return refusalOf(theirs, ours);
}
