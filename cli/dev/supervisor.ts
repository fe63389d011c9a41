/**
 * The children of one `cartwheel dev`: starts them, probes them, starts dead ones again when told to (or by
 * itself with `restart`), takes more in and lets some go, ends them all. Shows nothing: a view reads `children` and listens to `onChange`.
 *
 * I1 After `stop` has resolved no child runs, and none is started any more.
 */

import { pause } from '../pause.ts';
import { Child } from './child.ts';
import type { ProcessPlan } from './layout.ts';

export interface SupervisorOptions {
  /** Start dead children again without being asked. */
  readonly restart: boolean;
  readonly onChange: (child: Child) => void;
}

/** While something is starting the time it takes is looked at; later only whether it is still well. */
const probeStartingMs = 100;
const probeRunningMs = 1000;
const boundLogsMs = 10_000;
/** A child that has not ended this long after SIGTERM gets SIGKILL. */
export const gracefulStopMs = 10_000;

export class Supervisor {
  /** In the order of their ports, which is that of a table. */
  readonly children: readonly Child[];
  /** The same array. */
  private readonly own: Child[];
  private readonly options: SupervisorOptions;
  private stopping = false;
  /** Not to be started now, whoever asks. */
  private readonly held = new Set<Child>();
  private readonly timers = new Set<NodeJS.Timeout>();

  constructor(plans: readonly ProcessPlan[], options: SupervisorOptions) {
    this.options = options;
    this.own = plans.map((plan) => new Child(plan, (child) => this.changed(child)));
    this.children = this.own;
  }

  start(): void {
    for (const child of this.children) child.rotateLog();
    // The seeds first: whoever comes later finds them there.
    for (const child of [...this.children].reverse()) child.start();
    for (const child of this.children) this.watch(child);
    this.every(boundLogsMs, () => {
      for (const child of this.children) child.boundLog();
    });
  }

  /** Starts every dead child now, and says which. */
  restartDead(): string[] {
    if (this.stopping) return [];
    const dead = this.children.filter((child) => child.isDead && !this.held.has(child));
    for (const child of dead) child.start();
    return dead.map((child) => child.plan.name);
  }

  /** Starts children more. */
  add(plans: readonly ProcessPlan[]): void {
    if (this.stopping) return;
    for (const plan of plans) {
      const child = new Child(plan, (changed) => this.changed(changed));
      this.own.push(child);
      child.rotateLog();
      child.start();
      this.watch(child);
    }
    this.own.sort((a, b) => a.plan.port - b.plan.port);
  }

  /** Ends a child in good order, or after 10 s; it is started no more. */
  async remove(name: string): Promise<void> {
    const at = this.own.findIndex((child) => child.plan.name === name);
    const [child] = at === -1 ? [] : this.own.splice(at, 1);
    if (child !== undefined) await this.end(child); // and from now on nothing is told of it
  }

  /** Ends a child like that if it runs, does `meanwhile`, and starts it again. */
  async restartedAfter(name: string, meanwhile: () => void): Promise<void> {
    const child = this.own.find(({ plan }) => plan.name === name);
    if (child === undefined || this.stopping) throw new Error(`there is no ${name}, or everything is stopping`);
    this.held.add(child);
    try {
      await this.end(child);
      meanwhile();
    } finally {
      this.held.delete(child);
      child.start();
    }
  }

  private async end(child: Child): Promise<void> {
    child.signal('SIGTERM');
    const deadline = Date.now() + gracefulStopMs;
    while (isRunning(child)) {
      if (Date.now() > deadline) child.signal('SIGKILL');
      await pause(20);
    }
  }

  get allUp(): boolean {
    return this.children.every((child) => child.state.kind === 'up');
  }

  /**
   * SIGTERM to routers, and to all others once those have ended, or half of the time has gone: what a router has under way needs
   * them. SIGKILL to those left after 10 s, and the names of those. Calling it again kills at once.
   */
  async stop(): Promise<string[]> {
    const again = this.stopping;
    this.stopping = true;
    for (const timer of this.timers) clearTimeout(timer);
    const deadline = Date.now() + gracefulStopMs;
    if (again) for (const child of this.children) child.signal('SIGKILL');
    else {
      const routers = this.children.filter(({ plan }) => plan.kind === 'router');
      for (const child of routers) child.signal('SIGTERM');
      await ended(routers, deadline - gracefulStopMs / 2);
      for (const child of this.children) if (!routers.includes(child)) child.signal('SIGTERM');
    }
    await ended(this.children, deadline);
    const killed = this.children.filter(isRunning);
    for (const child of killed) child.signal('SIGKILL');
    await ended(this.children);
    return killed.map((child) => child.plan.name);
  }

  private changed(child: Child): void {
    if (!this.own.includes(child)) return;
    if (child.isDead && this.held.has(child)) return; // ended to be started again: nobody has to do anything about it
    if (!this.stopping && this.options.restart && child.isDead) {
      this.later(child.nextRestartDelayMs(), () => {
        if (!this.held.has(child)) child.start();
      });
    }
    this.options.onChange(child);
  }

  private watch(child: Child): void {
    const again = () => {
      this.later(child.state.kind === 'starting' ? probeStartingMs : probeRunningMs, async () => {
        if (!this.own.includes(child)) return;
        await child.probe();
        again();
      });
    };
    again();
  }

  private later(ms: number, run: () => void): void {
    if (this.stopping) return;
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      run();
    }, ms);
    this.timers.add(timer);
  }

  private every(ms: number, run: () => void): void {
    this.later(ms, () => {
      run();
      this.every(ms, run);
    });
  }
}

function isRunning({ pid }: Child): boolean {
  return pid !== undefined;
}

/** Resolves when none runs any more, or the time has come. */
async function ended(children: readonly Child[], deadline = Number.POSITIVE_INFINITY): Promise<void> {
  while (children.some(isRunning) && Date.now() < deadline) await pause(20);
}
