/** Waiting in tests: for what has to come about, however long a busy machine takes for it, or for a time. */

export function sleepMs(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until `holds` says so; rejects with `what` when that does not come. Looks at once, then less and less often. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  const startMs = performance.now();
  while (!(await holds())) {
    const waitedMs = performance.now() - startMs;
    if (waitedMs > timeoutMs) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleepMs(Math.min(50, 2 + waitedMs / 20));
  }
}
