/** Writes pages that come from the code: `npm run docs:commands` and `npm run docs:metrics`. */
import { writeFileSync } from 'node:fs';

const pages: Readonly<Record<string, () => Promise<string>>> = {
  async commands() {
    const { buildProgram } = await import('../../cli/program.ts');
    const { commandsPage } = await import('./commands.ts');
    return commandsPage(buildProgram());
  },
  async metrics() {
    const { describeMetrics, metricsPage } = await import('./metrics.ts');
    return metricsPage(await describeMetrics());
  },
};

const name = process.argv[2] ?? '';
const page = pages[name];
if (page === undefined) throw new RangeError(`wanted one of ${Object.keys(pages).join(', ')}, saw '${name}'`);
writeFileSync(new URL(`../${name}.md`, import.meta.url), await page());
