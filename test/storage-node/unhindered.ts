import type { Background } from '../../services/storage-node/background.ts';

/** Lets all go on at once. */
export const unhindered: Background = {
  begin: () => ({ admit: async () => {}, reached() {}, waitsFor() {}, waiting: '', end() {} }),
  takeWithin: () => 0,
  foreground() {},
  tasks: () => [],
  bytesPerSecond: Number.POSITIVE_INFINITY,
  stop() {},
};
