/** What the reports of all benchmarks are made of. Pure. */
import type { Histogram } from 'hdr-histogram-js';

export function markdown(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return `${[line(titles), line(titles.map(() => '---')), ...rows.map(line)].join('\n')}\n`;
}

/** Two digits that mean something; whole numbers from 10 on. */
export function significant(value: number): string {
  if (!Number.isFinite(value)) return '–';
  return value >= 9.95 ? Math.round(value).toLocaleString('en') : value.toFixed(value >= 0.995 ? 1 : 2);
}

/** p50 / p99 / p99.9 in milliseconds, of microseconds. */
export function percentilesText(latencies: Histogram): string {
  return [50, 99, 99.9].map((at) => (latencies.getValueAtPercentile(at) / 1_000).toFixed(1)).join(' / ');
}

/** All added into the first one. */
export function merged([first, ...others]: readonly Histogram[]): Histogram {
  for (const other of others) first?.add(other);
  return first as Histogram;
}

export function ratioText(of: Histogram, to: Histogram, percentile: number): string {
  return `${(of.getValueAtPercentile(percentile) / to.getValueAtPercentile(percentile)).toFixed(2)}×`;
}

/** `failed`: how many operations, by reason. */
export function failedText(failed: ReadonlyMap<string, number>): string {
  return [...failed].map(([reason, count]) => `${count} ${reason}`).join(', ') || '0';
}

export function failedCount(failed: ReadonlyMap<string, number>): number {
  return [...failed.values()].reduce((sum, count) => sum + count, 0);
}

export function storeName({ store, path }: { readonly store: string; readonly path: string }): string {
  return path === 'default' ? store : `${store}, ${path}`;
}

/** Puts `body` in the place of what is between the two comments that name the section. Throws where they are missing. */
export function withSection(page: string, name: string, body: string): string {
  const [begin, end] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`];
  const from = page.indexOf(begin);
  const to = page.indexOf(end, from);
  if (from < 0 || to < 0) throw new Error(`the page has no section between ${begin} and ${end}`);
  return `${page.slice(0, from + begin.length)}\n\n${body.trim()}\n\n${page.slice(to)}`;
}
