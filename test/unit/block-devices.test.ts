/** The block layer: the contract suite on the RAM device, bare and through the gate and the filters. */
import t from 'tap';
import { deviceSuite } from '../support/device-suite.js';
import { RamDevice } from '../support/ram-device.js';

const close = (): Promise<void> => Promise.resolve();

for (const blockBytes of [512, 4096]) {
  await deviceSuite(t, `RAM, blocks of ${blockBytes}`, () =>
    Promise.resolve({ device: new RamDevice(1 << 20, blockBytes), close }),
  );
}
