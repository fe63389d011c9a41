import { type Command, InvalidArgumentError, Option } from 'commander';
import { usageProblem } from './problem.ts';
import { durationMs, endpoints } from './values.ts';

/** What every command may be told, resolved once. The only place that reads the environment for it. */
export interface Settings {
  readonly endpoints: readonly string[];
  /** undefined: the store's default namespace. */
  readonly namespace: string | undefined;
  /** undefined: the client's own. */
  readonly timeoutMs: number | undefined;
  readonly output: 'table' | 'json';
  /** The flags among the arguments that say where a key is, for commands that people are told to type next. */
  readonly whereGiven: readonly string[];
}

/** Where a router of `cartwheel dev` listens. */
export const defaultEndpoint = '127.0.0.1:7400';

export function addSettings(program: Command): void {
  program
    .option(
      '--endpoint <host:port,…>',
      `routers or storage nodes to talk to (CARTWHEEL_ENDPOINT, else ${defaultEndpoint})`,
      endpoints,
    )
    .option('--namespace <name>', 'namespace of the keys')
    .option('--timeout <duration>', 'for each operation, such as 500ms or 2s', durationMs)
    .addOption(new Option('-o, --output <form>', 'table for people, json for programs').choices(['table', 'json']));
}

export function settingsOf(command: Command): Settings {
  const given = command.optsWithGlobals<{
    endpoint?: string[];
    namespace?: string;
    timeout?: number;
    output?: 'table' | 'json';
  }>();
  return Object.freeze({
    endpoints: given.endpoint ?? endpointsOfEnvironment() ?? [defaultEndpoint],
    namespace: given.namespace,
    timeoutMs: given.timeout,
    output: given.output ?? 'table',
    whereGiven: [
      ...(given.endpoint === undefined ? [] : ['--endpoint', given.endpoint.join(',')]),
      ...(given.namespace === undefined ? [] : ['--namespace', given.namespace]),
    ],
  });
}

function endpointsOfEnvironment(): string[] | undefined {
  const text = process.env.CARTWHEEL_ENDPOINT;
  if (text === undefined || text === '') return undefined;
  try {
    return endpoints(text);
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    throw usageProblem(`CARTWHEEL_ENDPOINT is '${text}'. ${error.message}`);
  }
}

/** The options of an operation that come from the settings. */
export function operationOptions(settings: Settings): { namespace?: string; timeoutMs?: number } {
  return {
    ...(settings.namespace === undefined ? {} : { namespace: settings.namespace }),
    ...(settings.timeoutMs === undefined ? {} : { timeoutMs: settings.timeoutMs }),
  };
}
