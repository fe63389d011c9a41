/** What a process shows at its /metrics, for tests and benchmarks that look at it from outside. `admin`: HOST:PORT. */

export async function metricsPageOf(admin: string): Promise<string> {
  return (await fetch(`http://${admin}/metrics`)).text();
}

/** One figure of the page as it is now, see `figureIn`. */
export async function figureOf(admin: string, name: string, labels = ''): Promise<number> {
  return figureIn(await metricsPageOf(admin), name, labels);
}

/** Of all series of that name which have `labels` (`task="exchange"`) among theirs, the sum. Throws where there is none. */
export function figureIn(page: string, name: string, labels = ''): number {
  const series = new RegExp(`^${name}(?:\\{(.*)\\})? (\\S+)$`, 'gm');
  const values = [...page.matchAll(series)].flatMap(([, own = '', value]) =>
    own.includes(labels) ? Number(value) : [],
  );
  if (values.length === 0) throw new Error(`the metrics show no ${name}{${labels}}`);
  return values.reduce((sum, value) => sum + value, 0);
}
