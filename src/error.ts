/**
 * An error for a person to read. The message says what is wrong and why; the remedy says what to do.
 * The code is stable, so tests and scripts may rely on it.
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

/** Reports an unexpected error as a mistake in weft. */
export const ownMistake = ({ message }: Error): WeftError =>
  new WeftError("AGENT", message, "please report this");

/** The error and its remedy in one sentence. */
export const sentence = ({ message, remedy }: WeftError): string => `${message}: ${remedy}`;

/** A callback that is called once, with the result of a job or its error. */
export type Done<T> = (result: T | WeftError) => void;

/** Turns a job with a callback into a promise. */
export const promised = <T>(ask: (done: Done<T>) => void): Promise<T> =>
  new Promise((resolve, reject) => {
    ask((result) => (result instanceof WeftError ? reject(result) : resolve(result)));
  });

/** Runs some work. @returns the failures that it lists, or a thrown WeftError as one sentence */
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
