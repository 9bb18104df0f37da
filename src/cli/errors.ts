/** Exit codes of every command; README.md lists them. */
export const ExitCode = {
  OK: 0,
  /** A defect, or a run that did not reach its goal. */
  FAILED: 1,
  /** The command line, a configuration or an input file is not right. */
  USAGE: 2,
  /** The gateway refused, and said why. */
  REFUSED: 3,
  /** No answer: no gateway on that state folder, no server at that address. */
  UNREACHABLE: 4,
  /** The machine does not allow it: port in use, folder not writable, disk full. */
  ENVIRONMENT: 5,
} as const;

/** An error whose message tells a person what to do next. It is printed without a stack. */
export class UserError extends Error {
  readonly exitCode: number;
  readonly reason: string;
  /** With `--json`: what the command has to show all the same, in the one object with the error. */
  readonly result: object | undefined;

  constructor(exitCode: number, reason: string, message: string, result?: object) {
    super(message);
    this.exitCode = exitCode;
    this.reason = reason;
    this.result = result;
  }
}

const TROUBLES: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EISDIR: "it is a folder, not a file",
  EACCES: "it may not be read by who runs this",
};

/** Why a file could not be read, without the system's own words. */
export const whyUnreadable = (error: unknown): string =>
  TROUBLES[(error as NodeJS.ErrnoException).code ?? ""] ?? (error as Error).message;

export const usageError = (reason: string, message: string): UserError =>
  new UserError(ExitCode.USAGE, reason, message);
export const environmentError = (reason: string, message: string): UserError =>
  new UserError(ExitCode.ENVIRONMENT, reason, message);
