/**
 * An `ip` command that fails at one step: a query, or a line of a batch. It stands before the real one
 * in PATH. Steps are counted from 1, over all calls since `failAt`.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** `refused` changes nothing; `late` reports a failure after the change was made, so queries do not count. */
export type How = "refused" | "late";

const SCRIPT = (folder: string) => `#!/bin/sh
PATH=/usr/sbin:/sbin:$PATH
read -r at how <${folder}/fail-at
[ "$at" = 0 ] && exec ip "$@"
read -r before <${folder}/steps
step=$before
failed=
case "$*" in
  *-batch*)
    lines=
    while IFS= read -r line; do
      step=$((step + 1))
      if [ "$step" = "$at" ]; then
        failed=$((step - before))
        echo "$line" >${folder}/failed
        [ "$how" = late ] || line=
      elif [ -n "$failed" ]; then
        case "$*" in *-force*) ;; *) line= ;; esac
      fi
      lines="$lines$line
"
    done
    echo "$step" >${folder}/steps
    printf %s "$lines" | ip "$@"
    code=$?
    [ -z "$failed" ] && exit "$code"
    echo "RTNETLINK answers: Injected failure" >&2
    echo "Command failed -:$failed" >&2
    exit 2
    ;;
  *)
    [ "$how" = late ] && exec ip "$@"
    step=$((step + 1))
    echo "$step" >${folder}/steps
    [ "$step" = "$at" ] || exec ip "$@"
    echo "$*" >${folder}/failed
    echo "Injected failure" >&2
    exit 2
    ;;
esac
`;

export class FailingIp {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder);
    writeFileSync(join(folder, "ip"), SCRIPT(folder), { mode: 0o755 });
    this.neverFail();
  }

  /** A PATH in which it stands before the real one. */
  get path(): string {
    return `${this.#folder}:${process.env.PATH}`;
  }

  failAt(step: number, how: How = "refused"): void {
    writeFileSync(join(this.#folder, "failed"), "");
    writeFileSync(join(this.#folder, "steps"), "0\n");
    writeFileSync(join(this.#folder, "fail-at"), `${step} ${how}\n`);
  }

  neverFail(): void {
    writeFileSync(join(this.#folder, "fail-at"), "0\n");
  }

  /** The step that failed, as it was given to `ip`; undefined if none has. */
  get failed(): string {
    return readFileSync(join(this.#folder, "failed"), "utf8").trim();
  }
}
