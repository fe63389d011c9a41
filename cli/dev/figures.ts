/**
 * The figures of the live table: operations a second and their p99.9 from /metrics, keys from GetStatus.
 *
 * I1 One scrape of a process at a time; a process that does not answer has no figures, and costs a second.
 */
import type { CartwheelClient } from '../../client/index.ts';
import type { Child } from './child.ts';
import { addressOf, loopback } from './layout.ts';
import { between, type HistogramCounts, histogramCounts, quantile, total } from './scrape.ts';

export interface Figures {
  readonly operationsPerSecond: number;
  /** In seconds, over the window; undefined when there was no operation in it. */
  readonly p999: number | undefined;
  readonly keys: number | undefined;
}

/** A router has operations of clients; a storage node runs them, whoever sent them. */
const routedHistogram = 'cartwheel_operation_seconds';
const coordinatedHistogram = 'cartwheel_coordination_seconds';
/** Rates and quantiles are over this many scrapes, a second apart. */
const windowScrapes = 10;
const scrapeTimeoutMs = 1000;

interface Scrape {
  readonly at: number;
  readonly counts: HistogramCounts;
}

export class FigureReader {
  private readonly windows = new Map<string, Scrape[]>();
  private readonly client: CartwheelClient;

  constructor(client: CartwheelClient) {
    this.client = client;
  }

  /** Undefined for a process that is not up, or did not answer. */
  async read(child: Child): Promise<Figures | undefined> {
    if (child.state.kind !== 'up') {
      this.windows.delete(child.plan.name);
      return undefined;
    }
    try {
      const [text, status] = await Promise.all([
        metricsText(child.plan.adminPort),
        child.plan.kind === 'storage-node' ? this.client.status(addressOf(child.plan.port)) : undefined,
      ]);
      const scrapes = this.windows.get(child.plan.name) ?? [];
      this.windows.set(child.plan.name, scrapes);
      const histogram = child.plan.kind === 'storage-node' ? coordinatedHistogram : routedHistogram;
      scrapes.push({ at: performance.now(), counts: histogramCounts(text, histogram) });
      if (scrapes.length > windowScrapes) scrapes.shift();
      return {
        ...ratesOf(scrapes),
        keys: status?.storage === undefined ? undefined : Number(status.storage.keysEstimated),
      };
    } catch {
      return undefined;
    }
  }
}

function ratesOf(scrapes: readonly Scrape[]): Pick<Figures, 'operationsPerSecond' | 'p999'> {
  const first = scrapes[0] as Scrape;
  const last = scrapes.at(-1) as Scrape;
  const before = scrapes.at(-2) ?? last;
  const seconds = (last.at - before.at) / 1000;
  const recent = total(between(before.counts, last.counts));
  return {
    operationsPerSecond: seconds === 0 ? 0 : recent / seconds,
    p999: quantile(between(first.counts, last.counts), 0.999),
  };
}

async function metricsText(adminPort: number): Promise<string> {
  const answer = await fetch(`http://${loopback}:${adminPort}/metrics`, {
    signal: AbortSignal.timeout(scrapeTimeoutMs),
  });
  return answer.text();
}
