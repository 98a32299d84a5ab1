/** A machine boots from a volume: SeaBIOS, iPXE's iSCSI initiator, and a boot sector of our own, on emulated hardware. */
import { existsSync } from 'node:fs';
import { open, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Initiator } from '../../lib/iscsi/initiator/index.js';
import { BOOTED, bootBlocks } from '../support/boot-sector.js';
import { startGroup } from '../support/group.js';
import { exec, Running, tempFolder } from '../support/process.js';
import { needs } from '../support/tools.js';

const BLOCK = 512;
/** Of a network card that SeaBIOS can boot from. */
const IPXE_ROM = '/usr/lib/ipxe/qemu/pxe-e1000.rom';
/** Where a guest finds the loopback address of its host. */
const HOST_OF_GUEST = '10.0.2.2';
const TEXT = 'booted from block 1\n';

const skip =
  needs('qemu-system-x86_64') || (existsSync(IPXE_ROM) ? false : "ipxe-qemu not installed: run 'make tools'");

/** What the machine said at its serial port until it turned itself off. */
async function boot(t: Test, port: string, iqn: string, settings: readonly string[] = []): Promise<string> {
  const folder = await tempFolder(t);
  const script = ['#!ipxe', ...settings, `sanboot iscsi:${HOST_OF_GUEST}::${port}:0:${iqn}`, ''];
  await writeFile(join(folder, 'boot.ipxe'), script.join('\n'));
  const network = ['-netdev', `user,id=net,restrict=off,tftp=${folder},bootfile=boot.ipxe`];
  const card = ['-device', `e1000,netdev=net,romfile=${IPXE_ROM},bootindex=1`];
  const machine = ['-nodefaults', '-display', 'none', '-accel', 'tcg', '-m', '64', '-serial', 'stdio'];
  const ended = await exec('qemu-system-x86_64', [...machine, ...network, ...card], { timeoutMs: 180_000 });
  return ended.stdout.replaceAll('\r', '');
}

t.test('from an image, with CHAP both ways', { skip, timeout: 240_000 }, async (t) => {
  const folder = await tempFolder(t);
  const image = join(folder, 'boot.img');
  await writeFile(image, bootBlocks(TEXT));
  await truncate(image, 16 * 1024 * 1024);
  const chap = join(folder, 'chap.json');
  const accounts = [{ name: 'guest', secret: 'correct-horse-12' }];
  const target = { name: 'ferry', secret: 'of-the-target-12' };
  await writeFile(chap, JSON.stringify({ accounts, target }), { mode: 0o600 });
  const server = Running.blockferry(['serve', image, '--port', '0', '--json', '--chap', chap]);
  t.teardown(() => server.stop());
  const { portal, targets } = await server.readyJson<{ portal: string; targets: { iqn: string }[] }>();
  const port = portal.split(':')[1] ?? '';
  const iqn = targets[0]?.iqn ?? '';
  const said = await boot(t, port, iqn, [
    'set username guest',
    'set password correct-horse-12',
    'set reverse-username ferry',
    'set reverse-password of-the-target-12',
  ]);
  t.match(said, `${TEXT}${BOOTED}`);
  const file = await open(image);
  const { buffer } = await file.read(Buffer.alloc(2 * BLOCK), 0, 2 * BLOCK, BLOCK);
  await file.close();
  t.ok(buffer.subarray(0, BLOCK).equals(buffer.subarray(BLOCK)), 'what it wrote is there');
});

t.test('from a volume, before and after it has moved', { skip, timeout: 240_000 }, async (t) => {
  const group = await startGroup(t, { members: 2, volumes: { boot: '16M' } });
  const disk = await Initiator.connect(group.url('boot'));
  for (const to of ['m1', 'm2'] as const) {
    const text = `at ${to}\n`;
    await disk.write(0, bootBlocks(text));
    if (to !== 'm1') await group.json('move', 'boot', '--to', to);
    // The guest does not reach the loopback addresses that a redirect names: it is sent to the home at once.
    const portal = group.ready.members.find(({ name }) => name === to)?.portal ?? '';
    const said = await boot(t, portal.split(':')[1] ?? '', 'iqn.2026-11.org.blockferry:boot');
    t.match(said, `${text}${BOOTED}`);
    t.match((await disk.read(2, 1)).toString('latin1'), `${text}\0`, 'what it wrote is there');
  }
  await disk.close();
});
