/** The `cartwheel` command. Started by bin/cartwheel.js, which sees to it that this is Node 24. */
import { writeSync } from 'node:fs';
import { outputProblem } from './output.ts';
import { run } from './program.ts';

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // `cartwheel keys | head` closes our output early: that is no error, and nothing is left to do.
  if (error.code === 'EPIPE') process.exit(0);
  try {
    writeSync(2, `cartwheel: ${outputProblem(error)}\n`); // at once, for this process ends here
  } catch {} // then there is nobody to tell
  process.exit(1);
});
process.stderr.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

// Started by bin/cartwheel.js, which leaves a channel open: when that is gone, however it went, this ends too.
if (process.connected) {
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  process.channel?.unref();
}

const exitCode = await run(process.argv.slice(2));
// What is still on its way into a pipe would be lost by process.exit.
await new Promise((done) => process.stdout.write('', done));
await new Promise((done) => process.stderr.write('', done));
process.exit(exitCode);
