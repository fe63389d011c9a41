/**
 * Whether one other node answers, as this node sees it (DeCandia et al. 2007, 4.8.3: a local notion of failure is
 * enough). Nobody else is told: whoever sends finds out for itself.
 *
 *                    connection up
 *        ┌─────────┐ ────────────► ┌─────────┐   silent for `silenceMs`    ┌───────────┐
 *        │ no way  │               │ trusted │ ──────────────────────────► │ suspected │ ── probes, ever rarer
 *        └─────────┘ ◄──────────── └─────────┘ ◄────────────────────────── └───────────┘
 *                    connection lost               anything is heard
 *
 * A stopped process keeps its connections; it is noticed by its silence alone: something was sent, and since then
 * for `silenceMs` nothing at all was heard.
 *
 * I1 Whoever has nothing to answer is not suspected, however long it is silent.
 * I2 When this process itself stood still (the last look is `standstillMs` ago), nobody is suspected for it.
 */

/** Ten times the 99.9th percentile of a replica on a busy small machine (docs/benchmarks.md). */
export const silenceMs = 1_000;
/** How often `look` is called while there is something to look for. */
export const lookEveryMs = 100;
const standstillMs = 3 * lookEveryMs;
export const probeMsMin = 200;
export const probeMsMax = 2_000;

/** What has to be done after a look. */
export type Finding = 'nothing' | 'suspect' | 'probe';

export interface PeerHealth {
  /** It can be asked. */
  readonly trusted: boolean;
  /** `look` must be called every `lookEveryMs`. */
  readonly watchful: boolean;
  connected(now: number): void;
  lost(): void;
  /** Something that wants an answer was sent. */
  sent(now: number): void;
  /** Anything came; so many answers are still wanted. */
  heard(now: number, wanted: number): void;
  /** `jitter`: a random number in 0..1, or as many probes of many nodes would meet. */
  look(now: number, jitter: number): Finding;
}

export function createPeerHealth(): PeerHealth {
  let connected = false;
  let suspected = false;
  /** Since when something is wanted and nothing was heard. */
  let silentSince: number | undefined;
  let lookedAt = 0;
  let probeAt = 0;
  let probeDelayMs = probeMsMin;

  function planProbe(now: number, jitter: number): void {
    probeAt = now + probeDelayMs * (0.5 + jitter);
    probeDelayMs = Math.min(probeDelayMs * 2, probeMsMax);
  }

  const health: PeerHealth = {
    get trusted() {
      return connected && !suspected;
    },
    get watchful() {
      return connected && (suspected || silentSince !== undefined);
    },
    connected(now) {
      connected = true;
      suspected = false;
      silentSince = undefined;
      lookedAt = now;
    },
    lost() {
      connected = false;
      suspected = false;
      silentSince = undefined;
    },
    sent(now) {
      if (silentSince !== undefined || suspected) return;
      silentSince = now;
      lookedAt = now;
    },
    heard(now, wanted) {
      suspected = false;
      silentSince = wanted > 0 ? now : undefined;
    },
    look(now, jitter) {
      const stoodStill = now - lookedAt > standstillMs;
      lookedAt = now;
      if (!connected) return 'nothing';
      if (suspected) {
        if (now < probeAt) return 'nothing';
        planProbe(now, jitter);
        return 'probe';
      }
      if (silentSince === undefined) return 'nothing';
      if (stoodStill) silentSince = now;
      if (now - silentSince < silenceMs) return 'nothing';
      suspected = true;
      silentSince = undefined;
      probeDelayMs = probeMsMin;
      planProbe(now, jitter);
      return 'suspect';
    },
  };
  return health;
}
