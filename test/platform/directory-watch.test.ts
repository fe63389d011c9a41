/** A data directory that is removed, moved or replaced under the process that has it open. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { watchDirectory } from '../../services/platform/rocksdb/directory-watch.ts';

const scratch = mkdtempSync(join(tmpdir(), 'cartwheel-directory-watch-'));
after(() => rmSync(scratch, { recursive: true }));

/** A look is made when `look` is called, and is over when the next one is due. */
function handClock() {
  let due: (() => void) | undefined;
  let onDue = () => {};
  return {
    after(_: number, run: () => void) {
      due = run;
      onDue();
      return () => {
        due = undefined;
      };
    },
    look(): void {
      const run = due;
      due = undefined;
      run?.();
    },
    lookedOnce(): Promise<void> {
      return new Promise((resolve) => {
        onDue = resolve;
        this.look();
      });
    },
  };
}

const ways: readonly (readonly [what: string, lose: (directory: string) => void])[] = [
  ['removed', (directory) => rmSync(directory, { recursive: true })],
  ['moved away', (directory) => renameSync(directory, `${directory}.away`)],
  [
    'replaced by that of another run',
    (directory) => {
      rmSync(directory, { recursive: true });
      mkdirSync(directory);
      writeFileSync(join(directory, 'RUN'), 'another');
    },
  ],
];
for (const [what, lose] of ways) {
  test(`a data directory that is ${what} is told once, and not before`, async () => {
    const directory = mkdtempSync(join(scratch, 'data-'));
    writeFileSync(join(directory, 'RUN'), 'ours');
    const clock = handClock();
    const told: string[] = [];
    let onTold = () => {};
    await watchDirectory(directory, clock, (error) => {
      told.push(error.message);
      onTold();
    });
    await clock.lookedOnce();
    await clock.lookedOnce();
    assert.deepEqual(told, []);
    lose(directory);
    await new Promise<void>((resolve) => {
      onTold = resolve;
      clock.look();
    });
    clock.look();
    assert.match(told.join(), new RegExp(`^data directory ${directory} was removed, or another is in its place$`));
  });
}

test('one that was stopped tells nothing', async () => {
  const directory = mkdtempSync(join(scratch, 'data-'));
  writeFileSync(join(directory, 'RUN'), 'ours');
  const clock = handClock();
  const watch = await watchDirectory(directory, clock, () => assert.fail('it was told'));
  clock.look();
  watch.stop();
  rmSync(directory, { recursive: true });
  await new Promise((done) => setTimeout(done, 50));
});
