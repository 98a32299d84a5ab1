/**
 * An image behind the slot of a member's volume, with the route as a constant: counted by the load monitor as a member
 * counts, or by nobody. What stands between the two is the monitor's cost. Only benchmarks start it.
 */
import { pino } from 'pino';
import { systemClock } from '../base/clock.js';
import { EXTENT_BYTES_DEFAULT, SLICES_PER_WINDOW } from '../base/limits.js';
import { DEMONSTRATION_SETTINGS } from '../balance/settings.js';
import { VolumeTraffic } from '../load/traffic.js';
import { SparseFile } from '../storage/sparse-file.js';
import { LocalSlot, type SlotTraffic } from '../volume/local-slot.js';
import type { ExtentHolders } from '../volume/slot.js';
import { Volume } from '../volume/volume.js';
import { serveDevices, serveUntilStopped } from './null-process.js';

const HERE: ExtentHolders = { epoch: 1, holders: [0], holderAt: () => 0 };

/** Says nothing about anything. */
const NOBODY: SlotTraffic = {
  reads: 0,
  writes: 0,
  began: () => false,
  ended: () => undefined,
  nowMs: () => 0,
};

export async function runSlotProcess(image: string, sizeBytes: number, isCounted: boolean): Promise<void> {
  const log = pino({ level: 'error' });
  const options = { sizeBytes, blockBytes: 512, create: false, readOnly: false, log };
  const file = await SparseFile.open(image, options);
  const slot = new LocalSlot(isCounted ? countedByMonitor() : NOBODY);
  slot.opened(file);
  const geometry = { sizeBytes, blockBytes: 512, extentBytes: EXTENT_BYTES_DEFAULT };
  const volume = new Volume(geometry, HERE, 0, slot, () => slot);
  const server = await serveDevices([volume]);
  serveUntilStopped({ urls: server.urls, close: () => server.close().then(() => file.close()) });
}

/** With the ends of windows, as often as they can be set. */
function countedByMonitor(): VolumeTraffic {
  const traffic = new VolumeTraffic(systemClock, EXTENT_BYTES_DEFAULT);
  let slices = 0;
  setInterval(() => {
    traffic.endSlice();
    slices += 1;
    if (slices % SLICES_PER_WINDOW === 0) traffic.takeWindow();
  }, DEMONSTRATION_SETTINGS.windowMs / SLICES_PER_WINDOW).unref();
  return traffic;
}
