/** Waiting in tests: for what has to come about, however long a busy machine takes for it, or for a time. */

export function sleepMs(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** What else is under way goes on meanwhile. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** So many turns of the event loop: by then what waits for nothing else has happened. */
export async function turns(count = 40): Promise<void> {
  for (let i = 0; i < count; i++) await turn();
}

/** For a race with what is held up, and must not end meanwhile. */
export function soon(): Promise<string> {
  return new Promise((resolve) => setTimeout(resolve, 100, 'still under way'));
}

/** For a race with what is not held up, on however busy a machine. */
export function late(): Promise<string> {
  return new Promise((resolve) => setTimeout(resolve, 10_000, 'still under way').unref());
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
