/** Images that one process serves end together, and none because of another. */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { silentLog } from '../../lib/base/log.js';
import { SeededRandom } from '../../lib/base/random.js';
import { ImageServer } from '../../lib/serve/images.js';
import { SparseFile } from '../../lib/storage/sparse-file.js';
import { existing, makeFolder } from '../support/storage-doors.js';

function start(images: string[]): Promise<ImageServer> {
  return ImageServer.start({
    ...{ images, host: '127.0.0.1', port: 0, sizeBytes: undefined, readOnly: false },
    ...{ clock: systemClock, random: new SeededRandom(1), log: silentLog },
  });
}

/** Closing the first file fails, after it has been closed. */
function failFirstClose(t: Test, message: string): void {
  const { close } = SparseFile.prototype;
  let closes = 0;
  SparseFile.prototype.close = async function (this: SparseFile): Promise<void> {
    const isFirst = closes++ === 0;
    await close.call(this);
    if (isFirst) throw new Error(message);
  };
  t.teardown(() => (SparseFile.prototype.close = close));
}

async function makeImages(t: Test): Promise<[string, string]> {
  const folder = await makeFolder(t);
  for (const name of ['a.img', 'b.img']) writeFileSync(join(folder, name), Buffer.alloc(64 * 1024));
  t.equal(readdirSync(folder).length, 2);
  return [join(folder, 'a.img'), join(folder, 'b.img')];
}

async function isFree(path: string): Promise<boolean> {
  try {
    await (await SparseFile.open(path, existing)).close();
    return true;
  } catch {
    return false;
  }
}

t.test('an image that cannot be closed keeps no other open', async (t) => {
  const images = await makeImages(t);
  const server = await start(images);
  failFirstClose(t, 'the disk is gone');
  await t.rejects(server.stop(), { message: 'the disk is gone' });
  for (const image of images) t.ok(await isFree(image), image);
});

t.test('nor hides why the server did not start', async (t) => {
  const [a, b] = await makeImages(t);
  const odd = `${b}.odd`;
  writeFileSync(odd, Buffer.alloc(100));
  failFirstClose(t, 'the disk is gone');
  await t.rejects(start([a, b, odd]), { code: 'INVALID', message: /100 bytes/ });
  for (const image of [a, b]) t.ok(await isFree(image), image);
});
