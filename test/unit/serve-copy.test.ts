/** EXTENDED COPY between two images that one process serves, over their sessions: the files are the judges. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { silentLog } from '../../lib/base/log.js';
import { SeededRandom } from '../../lib/base/random.js';
import { Opcode } from '../../lib/iscsi/wire/opcodes.js';
import { decodeScsiResponse } from '../../lib/iscsi/wire/scsi.js';
import { ScsiStatus } from '../../lib/scsi/task.js';
import { ImageServer } from '../../lib/serve/images.js';
import { copyCdb, copyList, cscd, segment } from '../support/copy-rig.js';
import { pattern } from '../support/device-suite.js';
import { TargetInitiator } from '../support/target-initiator.js';

const SIZE = 2 * 1024 * 1024;

t.test('from image to image', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'blockferry-'));
  const images = ['a.img', 'b.img'].map((name) => join(folder, name));
  for (const [i, image] of images.entries()) await writeFile(image, pattern(SIZE, i));
  const server = await ImageServer.start({
    ...{ images, host: '127.0.0.1', port: 0, sizeBytes: undefined, readOnly: false },
    ...{ clock: systemClock, random: new SeededRandom(1), log: silentLog },
  });
  const initiators: TargetInitiator[] = [];
  t.teardown(async () => {
    for (const initiator of initiators) initiator.close();
    await server.stop();
    await rm(folder, { recursive: true });
  });
  const login = async (index: number): Promise<TargetInitiator> => {
    const initiator = await TargetInitiator.connect(server.address.port);
    initiators.push(initiator);
    await initiator.login(server.images[index]?.iqn ?? '');
    return initiator;
  };
  /** NAA, as a host reads it from VPD 83h. */
  const naaOf = async (initiator: TargetInitiator): Promise<string> => {
    initiator.command({ cdb: Buffer.from('1201830400', 'hex'), read: true, expectedBytes: 1024 });
    const { data } = await initiator.expect(Opcode.DATA_IN);
    return data.toString('hex', 8, 16);
  };
  const a = await login(0);
  const naaOfA = await naaOf(a);
  const b = await login(1);
  const list = copyList(
    [cscd(naaOfA), cscd(await naaOf(b))],
    [segment({ destination: 1, from: 0, to: 100, blocks: 3000 })],
  );
  const copy = async (): Promise<{ status: number; sense: string }> => {
    const cdb = Buffer.from(copyCdb(list.length).replaceAll(' ', ''), 'hex');
    a.command({ cdb, write: true, expectedBytes: list.length, data: list });
    const { bhs, data } = await a.expect(Opcode.SCSI_RESPONSE);
    return { status: decodeScsiResponse(bhs).status, sense: data.toString('hex', 2) };
  };
  t.match(await copy(), { status: ScsiStatus.GOOD });
  const expected = pattern(SIZE, 1);
  pattern(SIZE, 0).copy(expected, 100 * 512, 0, 3000 * 512);
  t.ok((await readFile(images[1] as string)).equals(expected));
  t.ok((await readFile(images[0] as string)).equals(pattern(SIZE, 0)));

  b.close();
  for (;;) {
    const { status, sense } = await copy();
    if (status === ScsiStatus.GOOD) continue; // until the session's end has come through
    t.match(sense, /^70000a.{18}0d02/, 'it has logged out there');
    break;
  }
});
