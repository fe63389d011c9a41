/**
 * What a process keeps of the cluster over a restart, as bytes:
 *
 *     0      1         5
 *     ┌──────┬─────────┬──────────────────────────────────────────────┐
 *     │ 01   │ crc32   │ GossipResponse: id, members, ring, namespaces│
 *     └──────┴─────────┴──────────────────────────────────────────────┘
 *      version  of what follows, big-endian
 */
import { GossipResponse } from '../../../proto/gen/cartwheel/membership/v1/membership.ts';
import { decodeMember, encodeMember } from '../../core/membership/member.ts';
import type { Membership, Remembered } from '../../core/membership/membership.ts';
import { decodeNamespace, encodeNamespace } from '../../core/namespaces/codec.ts';
import { decodeRing, encodeRing, encodeVersion } from '../../core/ring/codec.ts';
import { checksum32 } from '../hash.ts';

const FORMAT_VERSION = 1;
const HEADER_BYTES = 5;

export function encodeRemembered(state: Pick<Membership, 'clusterId' | 'members' | 'ring' | 'namespaces'>): Uint8Array {
  const body = GossipResponse.encode({
    clusterId: state.clusterId,
    responderId: '',
    members: [...state.members.values()].map(encodeMember),
    wanted: [],
    ringVersion: state.ring && encodeVersion(state.ring.version),
    ring: state.ring && encodeRing(state.ring),
    namespaces: [...state.namespaces.values()].map(encodeNamespace),
    wantedNamespaces: [],
    settings: [],
  }).finish();
  const bytes = Buffer.alloc(HEADER_BYTES + body.length);
  bytes.writeUInt8(FORMAT_VERSION, 0);
  bytes.writeUInt32BE(checksum32(body), 1);
  bytes.set(body, HEADER_BYTES);
  return bytes;
}

/** Undefined bytes are an empty memory. Throws an Error where the bytes are damaged or of a newer version. */
export function decodeRemembered(bytes: Uint8Array | undefined): Remembered {
  if (bytes === undefined) return { clusterId: '', members: [], ring: undefined, namespaces: [] };
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (whole.length < HEADER_BYTES) throw new Error(`the memory of the cluster has only ${whole.length} bytes`);
  if (whole[0] !== FORMAT_VERSION) {
    throw new Error(`the memory of the cluster has format ${whole[0]}, and this build knows ${FORMAT_VERSION}`);
  }
  const body = whole.subarray(HEADER_BYTES);
  const stored = whole.readUInt32BE(1);
  const computed = checksum32(body);
  if (stored !== computed) {
    throw new Error(`the memory of the cluster is damaged: checksum ${stored} stored, ${computed} computed`);
  }
  const message = GossipResponse.decode(body);
  return {
    clusterId: message.clusterId,
    members: message.members.map(decodeMember),
    ring: message.ring && decodeRing(message.ring),
    namespaces: message.namespaces.map(decodeNamespace),
  };
}
