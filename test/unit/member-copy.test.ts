/**
 * EXTENDED COPY between volumes of one member, as its initiator sees it: what is home here is reached, whatever else is
 * not, also when that changes during a copy.
 */
import t, { type Test } from 'tap';
import { PIECE_BYTES_MAX } from '../../lib/base/limits.js';
import { submitAndWait } from '../../lib/block/device.js';
import { deleteVolume } from '../../lib/group/admin-volumes.js';
import { pattern } from '../support/device-suite.js';
import { copyCdb, copyList, cscd, HOST, segment } from '../support/copy-rig.js';
import { makeRig, type MemberRig } from '../support/member-rig.js';
import { RunnerTask, SAID, said, scsiRunner } from '../support/scsi-runner.js';

const NOT_REACHABLE = 'a/0d/02';
const SIZE = 4 * 1024 * 1024;
const BLOCK = 4096;

/** Volumes v and w, which HOST is logged in to, and a list that copies from one to the other. */
async function twoVolumes(t: Test) {
  const rig = await makeRig(t);
  for (const name of ['v', 'w']) await rig.create({ name, sizeBytes: SIZE });
  const [v, w] = [await heldOf(rig, 'v'), await heldOf(rig, 'w')];
  const data = pattern(SIZE, 3);
  await submitAndWait(v.volume, 'write', 0, SIZE, data);
  const list = copyList(
    [v, w].map(({ record }) => cscd(record.naa, '0103', 0, BLOCK)),
    [segment({ destination: 1, blocks: SIZE / BLOCK - 1, to: 1 })],
  );
  const { run } = scsiRunner(v.volume, v.target.server);
  const copy = async (): Promise<string> => said(await run(copyCdb(list.length), list, 0, HOST));
  return { rig, v, w, data, list, copy };
}

async function heldOf(rig: MemberRig, name: string) {
  for (;;) {
    const held = rig.host.get(name);
    if (held !== undefined) {
      await held.unit.catchUp();
      held.target.server.nexusBegan(HOST);
      return held;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function giveHome(rig: MemberRig, name: string): Promise<void> {
  const routed = rig.table.get(name);
  if (routed === undefined) throw new Error(`no volume ${name}`);
  await rig.table.commit(routed, routed.route.withHome('m2'));
}

t.test('from volume to volume', async (t) => {
  const { rig, v, w, data, copy } = await twoVolumes(t);
  t.equal(await copy(), SAID.GOOD);
  const copied = Buffer.alloc(SIZE - BLOCK);
  await submitAndWait(w.volume, 'read', BLOCK, copied.length, copied);
  t.ok(copied.equals(data.subarray(0, copied.length)));

  await submitAndWait(v.volume, 'discard', 0, SIZE);
  t.equal(await copy(), SAID.GOOD);
  await submitAndWait(w.volume, 'discard', 0, BLOCK);
  t.equal(await (await w.file()).allocatedBytes(), 0, 'what is empty here takes no space there');

  rig.host.givingHome('w', true);
  t.equal(await copy(), NOT_REACHABLE, 'one that is about to be served elsewhere');
  rig.host.givingHome('w', false);
  t.equal(await copy(), SAID.GOOD);
  await giveHome(rig, 'v');
  t.equal(await copy(), SAID.GOOD, 'sessions that are yet to follow their volume are served as before (I7)');
  await giveHome(rig, 'w');
  t.equal(await copy(), NOT_REACHABLE, 'one that is served elsewhere');
});

for (const [name, leave] of [
  ['goes elsewhere', (rig: MemberRig) => giveHome(rig, 'w')],
  ['is deleted', (rig: MemberRig) => deleteVolume(rig.store, 'w').then(() => rig.table.refresh('w'))],
] as const) {
  t.test(`a destination that ${name} during a copy`, async (t) => {
    const { rig, v, w, list } = await twoVolumes(t);
    const task = new RunnerTask();
    task.cdb = Buffer.from(copyCdb(list.length).replaceAll(' ', ''), 'hex');
    task.nexus = HOST;
    task.expectedDataOutBytes = list.length;
    const { server } = v.target;
    t.equal(server.prepare(task), 'control');
    task.dataOut = list;
    // The source has no lease for a moment, so that the copy waits in its middle.
    server.execute(task);
    v.volume.suspend();
    await leave(rig);
    v.volume.resume();
    while (task.outcomes.length === 0) await new Promise((resolve) => setImmediate(resolve));
    t.equal(task.outcomes.map(said).join(), NOT_REACHABLE);
    if (name === 'is deleted') return;
    const rest = Buffer.alloc(SIZE - PIECE_BYTES_MAX - BLOCK);
    await submitAndWait(w.volume, 'read', PIECE_BYTES_MAX + BLOCK, rest.length, rest);
    t.ok(rest.equals(Buffer.alloc(rest.length)), 'nothing is written there after that');
  });
}
