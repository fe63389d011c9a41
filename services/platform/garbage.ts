/**
 * What V8 is told before a service starts, so that its garbage costs the 99.9th percentile least. The figures are in
 * docs/benchmarks.md, "Full collections".
 */
import { setFlagsFromString } from 'node:v8';

/**
 * Cannot be set from within: whoever starts a service gives it to Node (the image by deploy/bin/cartwheel-node). With V8's four
 * helper threads a full collection of one process takes every core from the others.
 */
export const oneHelperThread = '--v8-pool-size=1';

/**
 * Small buffers (records, values, keys: thousands a second) are cut from pages of this size. Node's 8 KiB would be
 * a page for each seven records of 1 KB, and each page costs the garbage collector as much as a large one.
 */
const BUFFER_PAGE_BYTES = 256 * 1_024;

/**
 * How much what is kept may grow, in percent of what is in use, before all of it is collected. By itself V8 reckons with a
 * program that may stand still for 3% of its time, and so finds that a tenth is enough where little is allocated for long: a
 * storage node under a steady load began a full collection each second, though its old generation had grown by a mebibyte.
 */
const HEAP_GROWTH_PERCENT = 100;

export function limitGarbageCollection(): void {
  Buffer.poolSize = BUFFER_PAGE_BYTES;
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH_PERCENT}`);
  // Buffers count as what is in use. By itself V8 collects all for each 64 MiB of them that have come, however much is kept:
  // for every 650 values of 100 KiB, and a node under such a load three times a second.
  setFlagsFromString('--external-memory-accounted-in-global-limit');
}
