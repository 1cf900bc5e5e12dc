/** Errors that the library would print. */
import { Reporter, useReporter } from "../core/tools/report.ts";

/** Collects what is reported, in place of printing it, until disposed of. */
export class Reports extends Reporter implements Disposable {
  /** What was reported so far. */
  readonly errors: unknown[] = [];
  readonly #restore = useReporter(this);

  constructor() {
    super(() => {}, () => 0);
  }

  override report(error: unknown): void {
    this.errors.push(error);
  }

  [Symbol.dispose](): void {
    this.#restore();
  }
}
