/** --watch: the same answer again every second, until Ctrl-C. */
import { sleep, systemClock } from '../base/clock.js';
import { untilStopped, type CliDoor } from './door.js';
import { emit } from './output.js';

const INTERVAL_MS = 1000;
const CLEAR_SCREEN = '\x1b[2J\x1b[H';

/** A screen at a time on a terminal; with `json` a document a line. */
export async function watch<T>(
  door: CliDoor,
  json: boolean,
  ask: () => Promise<T>,
  describe: (answer: T) => string,
): Promise<void> {
  let stopped = false;
  const stop = untilStopped(door).then(() => (stopped = true));
  while (!stopped) {
    const answer = await ask();
    if (!json && door.stdout.isTTY === true) door.stdout.write(CLEAR_SCREEN);
    emit(door, json, answer, describe);
    await Promise.race([stop, sleep(systemClock, INTERVAL_MS)]);
  }
}
