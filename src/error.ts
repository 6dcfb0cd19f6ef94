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
