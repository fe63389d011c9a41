/**
 * Gathers items into frames for one stream: a frame is closed when the event-loop turn ends or at
 * `frameBytes`, whichever is first. No timer, but where items are held back (I3).
 *
 * Owns when a frame goes out. Knows nothing of what is in it.
 *
 * I1 Items leave in the order they came.
 * I2 While the stream asks for patience (`write` returned false) nothing is sent until `drained()`.
 * I3 With a window: a frame goes out when fewer than `window` items are unanswered, or when as many wait as
 *    are unanswered. Under load frames so fill by themselves; without load nothing waits. And none is held back for longer
 *    than `holdMs`: answers that take long (a disk that hangs, a quorum that is away, a crowd at one key) would else hold up
 *    all that comes after them.
 * I4 At most `queueBytesMax` bytes wait; beyond that `push` refuses.
 */
export interface FrameGateOptions<Item> {
  /** Sends one frame; false asks for patience. */
  write(items: Item[]): boolean;
  endOfTurn(run: () => void): void;
  /** What of the clock it needs; never called without a window. */
  after(ms: number, run: () => void): () => void;
  /** Unanswered items up to which nothing waits (I3); Infinity for a stream of answers. */
  window: number;
  queueBytesMax: number;
  /** The stream is not there yet: wait for the first `drained()`. */
  patient?: boolean;
}

export interface FrameGate<Item> {
  /** False where the queue is full: the item was not taken. */
  push(item: Item, bytes: number): boolean;
  /** `count` items that were sent have been answered. */
  answered(count: number): void;
  drained(): void;
  readonly queueBytes: number;
  readonly queueItems: number;
  readonly unanswered: number;
  /** Sends nothing any more. */
  close(): void;
}

/** One frame: small enough that no turn spends more than about a millisecond on it. */
export const frameBytes = 64 * 1024;
/** Longer than a commit of a busy node takes, which is what fills frames; and so rare enough to cost nothing. */
export const holdMs = 50;

export function createFrameGate<Item>(options: FrameGateOptions<Item>): FrameGate<Item> {
  const { write, endOfTurn, after, window, queueBytesMax } = options;
  let items: Item[] = [];
  let sizes: number[] = [];
  let queueBytes = 0;
  let unanswered = 0;
  let patient = options.patient === true;
  let scheduled = false;
  let closed = false;
  let cancelHold: (() => void) | undefined;
  const isOpen = () => !closed && !patient;

  function schedule(): void {
    if (scheduled || !isOpen() || items.length === 0) return;
    scheduled = true;
    endOfTurn(flush);
  }

  function flush(): void {
    scheduled = false;
    while (items.length > 0 && (unanswered < window || items.length >= unanswered) && isOpen()) sendFrame();
    if (items.length > 0 && isOpen()) cancelHold ??= after(holdMs, sendHeld);
  }

  /** Of the items that were held back when this was set, or came later. */
  function sendHeld(): void {
    cancelHold = undefined;
    while (items.length > 0 && isOpen()) sendFrame();
  }

  function sendFrame(): void {
    let count = 0;
    let bytes = 0;
    while (count < items.length && (count === 0 || bytes + (sizes[count] as number) <= frameBytes)) {
      bytes += sizes[count++] as number;
    }
    const frame = count === items.length ? items : items.slice(0, count);
    items = count === items.length ? [] : items.slice(count);
    sizes = count === sizes.length ? [] : sizes.slice(count);
    queueBytes -= bytes;
    if (window !== Number.POSITIVE_INFINITY) unanswered += count;
    if (!write(frame)) patient = true;
  }

  return {
    push(item, bytes) {
      if (closed || queueBytes + bytes > queueBytesMax) return false;
      items.push(item);
      sizes.push(bytes);
      queueBytes += bytes;
      schedule();
      return true;
    },
    answered(count) {
      unanswered -= count;
      schedule();
    },
    drained() {
      patient = false;
      schedule();
    },
    get queueBytes() {
      return queueBytes;
    },
    get queueItems() {
      return items.length;
    },
    get unanswered() {
      return unanswered;
    },
    close() {
      closed = true;
      cancelHold?.();
      items = [];
      sizes = [];
      queueBytes = 0;
    },
  };
}
