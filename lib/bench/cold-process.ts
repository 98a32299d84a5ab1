/** An image served by a process that also tells how long its event loop stood still. Only benchmarks start it. */
import { pino } from 'pino';
import { systemClock } from '../base/clock.js';
import { formatAddress } from '../base/net.js';
import { systemRandom } from '../base/random.js';
import { volumeUrl } from '../manage/api.js';
import { alwaysAtWork, LoopPause } from '../member/loop-pause.js';
import { ImageServer } from '../serve/images.js';

/** Serves until it is told to stop. Its messages: first the URL, then at each 'pause' the longest since the last, in ms. */
export async function runColdProcess(image: string): Promise<void> {
  const server = await ImageServer.start({
    images: [image],
    host: '127.0.0.1',
    port: 0,
    sizeBytes: undefined,
    readOnly: false,
    clock: systemClock,
    random: systemRandom,
    log: pino({ level: 'error' }),
  });
  const pause = new LoopPause(() => 0, alwaysAtWork);
  process.on('message', () => {
    process.send?.(pause.maxPauseMs);
    pause.reset();
  });
  const stop = (): void => void server.stop().then(() => process.exit());
  process.on('SIGTERM', stop);
  process.on('disconnect', stop);
  process.send?.(volumeUrl(formatAddress(server.address), server.images[0]?.iqn ?? ''));
}
