/** What two storage nodes check of each other before they exchange records. */
import type { Handshake } from '../../../proto/gen/cartwheel/replica/v1/replica.ts';

/** Raised with every change of replica.proto or of the record codec that the other end would not understand. */
export const wireVersion = 1;

export interface HandshakeTerms {
  readonly nodeId: string;
  /** Empty: not known yet. */
  readonly clusterId: string;
  /** N. */
  readonly replicas: number;
}

export function handshakeOf(terms: HandshakeTerms, peerId: string): Handshake {
  const { nodeId, clusterId, replicas } = terms;
  return { wireVersion, clusterId, nodeId, replicas, peerId };
}

/** Why the other end must not be listened to, with both values; undefined where all is well. */
export function refusalOf(theirs: Handshake, ours: HandshakeTerms): string | undefined {
  if (theirs.wireVersion !== wireVersion) return `wire version ${theirs.wireVersion} there, ${wireVersion} here`;
  if (theirs.clusterId !== ours.clusterId) return `cluster id "${theirs.clusterId}" there, "${ours.clusterId}" here`;
  if (theirs.replicas !== ours.replicas) return `${theirs.replicas} replicas (N) there, ${ours.replicas} here`;
  if (theirs.peerId !== '' && theirs.peerId !== ours.nodeId)
    return `node ${theirs.peerId} was meant, this is ${ours.nodeId}`;
  return undefined;
}
