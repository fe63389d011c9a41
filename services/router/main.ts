import { runProcess } from '../platform/process.ts';
import { readConfig } from './config.ts';
import { startRouter } from './server.ts';

runProcess('router', () => startRouter(readConfig(process.argv.slice(2), process.env)));
