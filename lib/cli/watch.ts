/** --watch: the same answer again every second, until Ctrl-C. */
import { sleep, systemClock } from '../base/clock.js';
import type { ManageClient } from '../manage/client.js';
import { untilStopped, type CliDoor } from './door.js';
import { emit } from './output.js';

const INTERVAL_MS = 1000;
const CLEAR_SCREEN = '\x1b[2J\x1b[H';

/** A screen at a time on a terminal; with `json` a document a line. Closes the client. */
export async function watch<T>(
  door: CliDoor,
  json: boolean,
  client: ManageClient,
  ask: () => Promise<T>,
  describe: (answer: T) => string,
): Promise<void> {
  let isStopped = false;
  const stopped = untilStopped(door).then(() => {
    isStopped = true;
    client.close(); // or a group that hangs would be waited for
  });
  while (!isStopped) {
    const answer = await Promise.race([ask(), stopped]);
    if (answer === undefined) return;
    if (!json && door.stdout.isTTY === true) door.stdout.write(CLEAR_SCREEN);
    emit(door, json, answer, describe);
    await Promise.race([stopped, sleep(systemClock, INTERVAL_MS)]);
  }
}
