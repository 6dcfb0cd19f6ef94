/**
 * An error a person will read. The message says what is wrong and why; the
 * remedy says what to do about it. The code is stable: tests and scripts may
 * rely on it.
 */
export class WeftError extends Error {
  override readonly name = "WeftError";

  constructor(
    readonly code: string,
    message: string,
    readonly remedy: string,
  ) {
    super(message);
  }
}

/** What should never have happened, said as such. */
export const ownMistake = ({ message }: Error): WeftError =>
  new WeftError("AGENT", message, "please report this");

/** The error as one sentence that says what to do. */
export const sentence = ({ message, remedy }: WeftError): string => `${message}: ${remedy}`;

/** Called once with the result of a job, or with the error that prevents it. */
export type Done<T> = (result: T | WeftError) => void;

/** The same, as a promise. */
export const promised = <T>(ask: (done: Done<T>) => void): Promise<T> =>
  new Promise((resolve, reject) => {
    ask((result) => (result instanceof WeftError ? reject(result) : resolve(result)));
  });

/** @returns its failure as one sentence, or the failures that the work itself lists */
export async function attempt(
  work: () => Promise<readonly string[]> | Promise<void>,
): Promise<readonly string[]> {
  try {
    return (await work()) ?? [];
  } catch (error) {
    if (!(error instanceof WeftError)) throw error;
    return [sentence(error)];
  }
}
