/** Logs as a service does, a fatal line too, and says on stderr that it has come to its end. */
import { createLog } from '../../services/platform/logging.ts';

const log = createLog({ service: 'child', level: 'info' });
for (let i = 0; i < 10; i++) log.info({ i }, 'a line');
log.fatal('a fatal line');
setImmediate(() => process.stderr.write('end'));
