/**
 * A store that remembers what it was told is written, and finds at the end what of it is gone.
 *
 * Each value begins with the number of its write. A write covers those that its context has seen; whatever was
 * acknowledged and is covered by no other write must be there when all is over, beside whatever else is.
 *
 * I1 A write of unknown outcome may be there or not, and so may those that it would cover.
 * I2 Kept of a key: what must be there, and what its contexts have seen; nothing of writes that are covered.
 */
import type { CartwheelClient, GetAnswer, PutAnswer, Sibling } from '../../../client/index.ts';

const numberBytes = 8;

export interface Audit {
  readonly keys: number;
  readonly acknowledged: number;
  /** Acknowledged, covered by nothing, and not there. */
  readonly lost: readonly string[];
  /** Of those that had been covered: shown all the same. */
  readonly cameBack: readonly string[];
}

export interface AuditedStore extends Pick<CartwheelClient, 'get' | 'put'> {
  /** Once nothing is under way any more: every key that was written is read with `r` replicas. Throws what a read throws. */
  audit(options: { readonly r: number; readonly readers: number }): Promise<Audit>;
}

interface KeyState {
  /** Acknowledged, and not covered. */
  readonly must: Set<number>;
  /** May be there, or may have covered what must. */
  readonly unknown: Set<number>;
  readonly perhapsCovered: Set<number>;
  /** Under way: whether it has been covered meanwhile. */
  readonly underWay: Map<number, boolean>;
}

export function audited(client: Pick<CartwheelClient, 'get' | 'put'>): AuditedStore {
  const keys = new Map<string, KeyState>();
  /** By the very context that was answered. */
  const seenBy = new WeakMap<Uint8Array, ReadonlySet<number>>();
  let acknowledged = 0;
  let last = 0;

  function stateOf(key: string): KeyState {
    let state = keys.get(key);
    if (state === undefined) {
      state = { must: new Set(), unknown: new Set(), perhapsCovered: new Set(), underWay: new Map() };
      keys.set(key, state);
    }
    return state;
  }

  const nothing: ReadonlySet<number> = new Set();
  const seenWith = (context: Uint8Array | undefined) => (context && seenBy.get(context)) ?? nothing;

  return {
    async get(key, options): Promise<GetAnswer> {
      const answer = await client.get(key, options);
      seenBy.set(answer.context, new Set(answer.siblings.map(numberOf)));
      return answer;
    },

    async put(key, value, options): Promise<PutAnswer> {
      const state = stateOf(String(key));
      const number = ++last;
      const covers = seenWith(options?.context);
      state.underWay.set(number, false);
      try {
        const answer = await client.put(key, numbered(value, number), options);
        acknowledged++;
        for (const covered of covers) {
          state.must.delete(covered);
          state.unknown.delete(covered);
          if (state.underWay.has(covered)) state.underWay.set(covered, true);
        }
        if (state.underWay.get(number) === false) state.must.add(number);
        seenBy.set(answer.context, new Set([number])); // the others that it has seen are covered by now
        return answer;
      } catch (error) {
        state.unknown.add(number); // I1
        for (const covered of covers) state.perhapsCovered.add(covered);
        throw error;
      } finally {
        state.underWay.delete(number);
      }
    },

    async audit({ r, readers }): Promise<Audit> {
      const lost: string[] = [];
      const cameBack: string[] = [];
      const left = [...keys];
      const reader = async () => {
        for (let one = left.pop(); one !== undefined; one = left.pop()) {
          const [key, { must, unknown, perhapsCovered }] = one;
          const { siblings } = await client.get(key, { r });
          const shown = new Set(siblings.map(numberOf));
          for (const number of must) {
            if (!shown.has(number) && !perhapsCovered.has(number)) lost.push(`write ${number} of ${key}`);
          }
          for (const number of shown) {
            if (!must.has(number) && !unknown.has(number)) cameBack.push(`write ${number} of ${key}`);
          }
        }
      };
      await Promise.all(Array.from({ length: readers }, reader));
      return { keys: keys.size, acknowledged, lost, cameBack };
    },
  };
}

function numbered(value: string | Uint8Array, number: number): Buffer {
  const bytes = Buffer.from(value);
  bytes.writeBigUInt64BE(BigInt(number));
  return bytes;
}

function numberOf({ value }: Sibling): number {
  return Number(value.readBigUInt64BE());
}

/** The least that a value must have room for. */
export const valueBytesMin = numberBytes;
