/** Writes pages that come from the code: `npm run docs:metrics`. */
import { writeFileSync } from 'node:fs';
import { describeMetrics, metricsPage } from './metrics.ts';

writeFileSync(new URL('../metrics.md', import.meta.url), metricsPage(await describeMetrics()));
