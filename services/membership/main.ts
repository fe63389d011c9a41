import { runProcess } from '../platform/process.ts';
import { readConfig } from './config.ts';
import { startMembership } from './server.ts';

runProcess('membership', async () => startMembership(readConfig(process.argv.slice(2), process.env)));
