/** 1: what was asked for could not be done. 2: it was not asked in a way that can be understood, or answered. 130: interrupted. */
export type ExitCode = 1 | 2 | 130;

/** The end of a command, told to a person in one line: what is wrong, and in `hint` what to do about it. */
export class Problem extends Error {
  readonly exitCode: ExitCode;
  readonly hint: string | undefined;

  constructor(message: string, hint?: string, exitCode: ExitCode = 1) {
    super(message);
    this.name = 'Problem';
    this.hint = hint;
    this.exitCode = exitCode;
  }
}

export function usageProblem(message: string, hint?: string): Problem {
  return new Problem(message, hint, 2);
}

/** `error` as one line without control characters, whatever was thrown. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/[\s\p{Cc}]+/gu, ' ').trim();
}

/** With what to do about it. */
export function problemText(error: unknown): string {
  const hint = error instanceof Problem && error.hint !== undefined ? ` (${error.hint})` : '';
  return `${messageOf(error)}${hint}`;
}

/** The code of a Node system error, such as ENOENT. */
export function systemCodeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}
