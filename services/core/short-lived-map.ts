/**
 * A Map for what comes and goes thousands of times a second, such as operations in flight by their ids.
 *
 * Why not a Map: V8 copies its table into a new one every few insertions. The table it leaves keeps the values it had, and a
 * pointer to the new table, for iterators under way. Once such a table is in the old generation, where each full collection
 * puts the one in use, it is garbage that no scavenge sees: it keeps the next table, that the one after it, and they every
 * value that was there when its table was left, with all that it refers to, until the next full collection. A storage
 * node so kept, copied and promoted nearly every operation it had ended.
 *
 * I1 A value that was taken out is referred to by nothing in here: each is in a box of its own, which is emptied. What V8
 *    keeps for too long are boxes, and keys: those have to be small.
 */
export class ShortLivedMap<Key extends string | number | bigint, Value> {
  readonly #boxes = new Map<Key, { value: Value | undefined }>();

  get size(): number {
    return this.#boxes.size;
  }

  has(key: Key): boolean {
    return this.#boxes.has(key);
  }

  get(key: Key): Value | undefined {
    return this.#boxes.get(key)?.value;
  }

  set(key: Key, value: Value): void {
    const box = this.#boxes.get(key);
    if (box === undefined) this.#boxes.set(key, { value });
    else box.value = value;
  }

  /** What was there. */
  take(key: Key): Value | undefined {
    const box = this.#boxes.get(key);
    if (box === undefined) return undefined;
    const { value } = box;
    box.value = undefined;
    this.#boxes.delete(key);
    return value;
  }

  /** All that was there, in the order in which it came. */
  takeAll(): Value[] {
    const all: Value[] = [];
    for (const box of this.#boxes.values()) {
      all.push(box.value as Value);
      box.value = undefined;
    }
    this.#boxes.clear();
    return all;
  }

  /** In the order in which they came. */
  values(): Value[] {
    return Array.from(this.#boxes.values(), ({ value }) => value as Value);
  }
}
