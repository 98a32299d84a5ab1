/** libiscsi's and QEMU's tools against `blockferry serve`: discovery, inquiry, capacity, data. */
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { testLibiscsiTools, testQemuTools } from '../support/foreign.js';
import { Running, blockferry, tempFolder } from '../support/process.js';

interface Ready {
  readonly portal: string;
  readonly targets: readonly { readonly iqn: string; readonly url: string; readonly size: number }[];
}

const SIZE_BYTES = 32 * 1024 * 1024;

t.test('an image serves foreign initiators', async (t) => {
  const image = join(await tempFolder(t), 'disk.img');
  await writeFile(image, '');
  await truncate(image, SIZE_BYTES);
  const server = Running.blockferry(['serve', image, '--port', '0', '--json']);
  t.teardown(() => server.stop());
  const ready = await server.readyJson<Ready>();
  const [served] = ready.targets;
  if (served === undefined) throw new Error('no target');
  const target = { portal: ready.portal, iqn: served.iqn, url: served.url, sizeBytes: served.size };
  await testLibiscsiTools(t, target);
  await testQemuTools(t, target);
  const ended = await server.stop();
  t.equal(ended.code, 0, 'stops in order');
  t.equal(ended.stdout.trim().split('\n').length, 1, 'one line on stdout');
  t.equal(ended.stderr, '', 'nothing on stderr');
});

t.test('what cannot be served is refused in one line', async (t) => {
  const folder = await tempFolder(t);
  const image = join(folder, 'disk.img');
  await writeFile(image, '');
  await truncate(image, SIZE_BYTES);
  const odd = join(folder, 'odd.img');
  await writeFile(odd, 'x'.repeat(1000));
  const empty = join(folder, 'empty.img');
  await writeFile(empty, '');
  const server = Running.blockferry(['serve', image, '--port', '0', '--json']);
  t.teardown(() => server.stop());
  const { portal } = await server.readyJson<Ready>();
  const [, usedPort = ''] = portal.split(':');
  const other = join(folder, 'other.img');

  const cases: readonly (readonly [string, readonly string[], number, RegExp])[] = [
    [
      'an image that is missing',
      [join(folder, 'none.img')],
      1,
      /there is no .*none\.img; add --size to create it/,
    ],
    ['a folder', [folder], 1, /is a folder/],
    ['an empty image', [empty], 1, /is empty/],
    ['a size that is no multiple of the block', [odd], 1, /1000|multiple/],
    ['an image named twice', [odd, odd], 2, /is named twice/],
    ['an image in use', [image], 1, /is in use by another process/],
    ['a size that the image does not have', [other, odd, '--size', '1M'], 1, /1000 bytes/],
    ['a port in use', [other, '--size', '1M', '--port', usedPort], 1, /in use.*--port/],
  ];
  for (const [what, args, code, said] of cases) {
    const ended = await blockferry(['serve', '--json', '--port', '0', ...args]);
    t.equal(ended.code, code, `${what}: exit ${code}`);
    t.equal(ended.stdout, '', `${what}: nothing on stdout`);
    t.match(ended.stderr, said, `${what}: says what`);
    t.match(ended.stderr, /^[^\n]+\n$/, `${what}: in one line`);
  }
});
