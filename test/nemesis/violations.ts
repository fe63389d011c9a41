/** What was found, counted; the first few with their words. */
import { type Finding, Violation } from '../oracle/violation.ts';

/** More of them help nobody. */
const describedMax = 20;

export interface Found {
  readonly violation: Violation;
  /** Undefined where it is not about a key. */
  readonly key: string | undefined;
}

export interface Violations {
  readonly counts: Readonly<Record<Finding, number>>;
  readonly found: readonly Found[];
  readonly any: boolean;
  /** Runs a check; what it throws is kept. Anything that is no Violation is a bug of ours, and goes on. Says whether all was well. */
  attempt(key: string, check: () => void): boolean;
  add(key: string | undefined, violation: Violation): void;
}

export function createViolations(onFirst: () => void): Violations {
  const counts: Record<Finding, number> = { lost: 0, resurrected: 0, unexplained: 0, other: 0 };
  const found: Found[] = [];
  let any = false;

  const violations: Violations = {
    counts,
    found,
    get any() {
      return any;
    },
    attempt(key, check) {
      try {
        check();
        return true;
      } catch (error) {
        if (!(error instanceof Violation)) throw error;
        violations.add(key, error);
        return false;
      }
    },
    add(key, violation) {
      counts[violation.finding]++;
      if (found.length < describedMax) found.push({ violation, key });
      if (any) return;
      any = true;
      onFirst();
    },
  };
  return violations;
}
