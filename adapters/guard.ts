/**
 * Calling what the user or the library wrote.
 *
 * @module
 */

/**
 * Runs it; what it throws, or its promise rejects with, is for `failed`, which
 * does not throw.
 */
export async function guard(
  run: () => unknown,
  failed: (error: unknown) => void,
): Promise<void> {
  try {
    await run();
  } catch (error) {
    failed(error);
  }
}
