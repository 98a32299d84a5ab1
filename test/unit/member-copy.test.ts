/**
 * EXTENDED COPY between volumes, as its initiator sees it: of one member, and of several, wherever their homes are and when
 * they move.
 */
import t, { type Test } from 'tap';
import { sleep, systemClock } from '../../lib/base/clock.js';
import { LEASE_TTL_MS, PIECE_BYTES_MAX } from '../../lib/base/limits.js';
import { submitAndWait } from '../../lib/block/device.js';
import { deleteVolume } from '../../lib/group/admin-volumes.js';
import { keys } from '../../lib/group/records.js';
import { Initiator } from '../../lib/iscsi/initiator/index.js';
import { PeerStatus, PeerType, type IncomingRequest } from '../../lib/peer/contract.js';
import { pattern } from '../support/device-suite.js';
import { again, beginCopy, copyCdb, copyList, cscd, endOf, HOST, segment } from '../support/copy-rig.js';
import { makeGroup, type MemberGroup } from '../support/member-group.js';
import { makeRig, type MemberRig } from '../support/member-rig.js';
import { SAID, said, scsiRunner } from '../support/scsi-runner.js';
import { soon, until } from '../support/wait.js';

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
  await until(`${name} is here`, () => rig.host.get(name) !== undefined);
  const held = rig.host.get(name);
  if (held === undefined) throw new Error(`${name} has gone again`);
  await held.unit.catchUp();
  held.target.server.nexusBegan(HOST);
  return held;
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

  rig.host.givingHome(2, true);
  const waiting = copy();
  t.equal(await Promise.race([waiting, soon()]), 'still under way', 'one that may be served elsewhere soon');
  rig.host.givingHome(2, false);
  t.equal(await waiting, SAID.GOOD);
  await giveHome(rig, 'v');
  t.equal(await copy(), SAID.GOOD, 'sessions that are yet to follow their volume are served as before (I7)');
  rig.peers.join('m2', { handle: (request) => request.answer(PeerStatus.NOT_FOUND) });
  await giveHome(rig, 'w');
  w.target.server.nexusEnded(HOST);
  t.equal(await copy(), NOT_REACHABLE, 'one that is served elsewhere, where the initiator is not');
});

function urlOf(group: MemberGroup, member: string, volume: string): string {
  return `iscsi://${group.portalOf(member)}/iqn.2026-11.org.blockferry:${volume}/0`;
}

async function naaOf(unit: Initiator): Promise<string> {
  return (await unit.inquiry(0x83)).toString('hex', 8, 16);
}

/** The home of w, as far as a copy knows it: what it writes there. */
function homeElsewhere(rig: MemberRig) {
  const bytes = Buffer.alloc(SIZE);
  const came: number[] = [];
  const handle = (request: IncomingRequest): void => {
    const { type, offsetBytes, payload } = request;
    came.push(type);
    if (type === PeerType.GUEST_WRITE) payload.copy(bytes, offsetBytes);
    const isLetIn = came.includes(PeerType.GUEST_BEGAN);
    const answers = new Map([
      [PeerType.GUEST_BEGAN, 'process'],
      [PeerType.GUEST_ENDED, JSON.stringify({ incarnation: 'process', wasAborted: false })],
    ] as [number, string][]);
    request.answer(isLetIn ? PeerStatus.OK : PeerStatus.NOT_FOUND, Buffer.from(answers.get(type) ?? ''));
  };
  rig.peers.join('m2', { handle });
  return { bytes, came };
}

for (const [name, leave] of [
  ['goes elsewhere', (rig: MemberRig) => giveHome(rig, 'w')],
  ['is deleted', (rig: MemberRig) => deleteVolume(rig.store, 'w').then(() => rig.table.refresh('w'))],
] as const) {
  t.test(`a destination that ${name} during a copy`, async (t) => {
    const { rig, v, w, data, list } = await twoVolumes(t);
    const elsewhere = homeElsewhere(rig);
    // The source has no lease for a moment, so that the copy waits in its middle.
    const task = beginCopy(v.target.server, list, HOST);
    v.volume.suspend();
    await leave(rig);
    v.volume.resume();
    t.equal(await endOf(task), name === 'is deleted' ? NOT_REACHABLE : SAID.GOOD);
    if (name === 'is deleted') return;
    const here = Buffer.alloc(SIZE);
    await submitAndWait(w.volume, 'read', 0, SIZE, here);
    const from = firstEmptyPiece(here);
    t.ok(here.subarray(from).equals(Buffer.alloc(SIZE - from)), 'nothing is written here after that');
    const whole = Buffer.concat([here.subarray(BLOCK, from), elsewhere.bytes.subarray(from)]);
    t.ok(whole.equals(data.subarray(0, SIZE - BLOCK)));
    await new Promise((resolve) => setTimeout(resolve, 10));
    t.equal(elsewhere.came.at(-1), PeerType.GUEST_ENDED);
  });
}

/** Of the copy, which begins at block 1. */
function firstEmptyPiece(bytes: Buffer): number {
  for (let from = BLOCK; from < SIZE; from += PIECE_BYTES_MAX) {
    const piece = bytes.subarray(from, from + PIECE_BYTES_MAX);
    if (piece.equals(Buffer.alloc(piece.length))) return from;
  }
  return SIZE;
}

t.test('a member without its lease knows no copy of others any more (I8)', async (t) => {
  const { rig, w } = await twoVolumes(t);
  const place = rig.host.guestPlaceOf(w.record.id);
  const [other, own] = ['m2-1', 'i'].map((incarnation) => ({ from: 'm', incarnation, token: 1 }));
  if (place === undefined || other === undefined || own === undefined) throw new Error('no place');
  for (const copier of [other, own]) t.ok(place.guests.letIn(copier, HOST.initiatorName));
  rig.leaseIsValid = false;
  t.notOk(rig.host.mayServe());
  t.notOk(place.guests.find(other));
  t.ok(place.guests.find(own));
  place.guests.end(own, () => undefined);
});

/** Pauses of a member between two renewals of its lease, with one and without. */
const RENEWALS_MS = [LEASE_TTL_MS / 3, 500];

t.test('a copy of a session that stays goes on when its own member is taken for gone (I7)', async (t) => {
  const group = await makeGroup(t, [], 'redirect');
  let aheadMs = 0;
  group.clock = {
    ...systemClock,
    nowMs: () => systemClock.nowMs() + aheadMs,
    // It renews its lease all the time, so that a loss and a return are seen at once.
    after: (delayMs, fire) => systemClock.after(RENEWALS_MS.includes(delayMs) ? 2 : delayMs, fire),
  };
  await group.start('m1');
  await group.create('m1');
  await group.create('m1', { name: 'w' });
  const initiatorName = 'iqn.2026-11.test:host';
  const v = await group.at('m1', { initiatorName });
  const w = await Initiator.connect(urlOf(group, 'm1', 'w'), { initiatorName });
  const cscds = [cscd(await naaOf(v)), cscd(await naaOf(w))];
  const list = copyList(cscds, new Array<string>(8).fill(segment({ destination: 1, blocks: 8000 })), {
    usage: 2,
  });
  const key = keys.member('m1');
  const record = (await group.store.get(key))?.value ?? '';
  for (let round = 0; round < 4; round++) {
    const copying = v.execute(Buffer.from(copyCdb(list.length).replaceAll(' ', ''), 'hex'), {
      dataOut: list,
    });
    await sleep(systemClock, 2);
    aheadMs = LEASE_TTL_MS; // a piece of the copy waits for the lease, at w's home or before
    await sleep(systemClock, 20);
    await group.store.txn([], [{ delete: key }]);
    await sleep(systemClock, 5);
    await group.store.txn([], [{ put: key, value: record }]);
    aheadMs = 0;
    t.equal((await copying).status, 0);
  }
  await v.close();
  await w.close();
});

t.test('the next home meets no piece of a copy that came here', async (t) => {
  const { rig, w } = await twoVolumes(t);
  const copier = { from: 'm2', incarnation: 'm2-1', token: 1 };
  const guests = rig.host.guestPlaceOf(w.record.id)?.guests;
  t.ok(guests?.letIn(copier, HOST.initiatorName));
  const guest = guests?.find(copier);
  if (guest === undefined) throw new Error('it was let in');
  w.volume.suspend();
  const piece = submitAndWait(guest, 'write', 0, BLOCK, Buffer.alloc(BLOCK, 1));
  const dropped = t.rejects(piece, { code: 'aborted' }, 'nor does one that was held back begin any more');
  await giveHome(rig, 'w');
  t.notOk(rig.host.isVacant('w'), 'it is under way');
  w.volume.resume();
  await dropped;
  t.ok(rig.host.isVacant('w'));
});

/** Volume w, whose home is m1, and v, whose home is m2: one host has a session with each, and has w copy. */
async function twoHomes(t: Test, access: 'redirect' | 'alua', blocks: number) {
  const group = await makeGroup(t, ['m1', 'm2', 'm3'], access);
  await group.create('m1', { name: 'w' });
  await group.create('m2');
  const initiatorName = 'iqn.2026-11.test:host';
  const v = await group.at('m2', { initiatorName });
  const w = await Initiator.connect(urlOf(group, 'm1', 'w'), { initiatorName });
  const cscds = [cscd(await naaOf(w)), cscd(await naaOf(v))];
  const copy = async (fields: Parameters<typeof segment>[0]): Promise<string> => {
    const list = copyList(cscds, [segment({ blocks, ...fields })], { usage: 2 });
    const cdb = Buffer.from(copyCdb(list.length).replaceAll(' ', ''), 'hex');
    const { status, sense } = await w.execute(cdb, { dataOut: list });
    return status === 0 ? SAID.GOOD : `${status} ${sense.toString('hex')}`;
  };
  return { group, v, w, copy };
}

t.test('a new home learns at once who stays where they are', async (t) => {
  const { group, v, w, copy } = await twoHomes(t, 'alua', 100);
  t.equal(await group.move('m3'), 'done');
  t.equal(await copy({ source: 0, destination: 1 }), SAID.GOOD, 'no command of v has come to m3');
  await v.close();
  await w.close();
});

// Both at once: at their ends they wait until nobody can be on the way to the new home any more, for seconds.
t.test('volumes of a group whose homes move under their copies', { jobs: 2 }, async (t) => {
  for (const access of ['redirect', 'alua'] as const) {
    void t.test(access, { buffered: true }, async (t) => {
      const blocks = 4000;
      const { group, v, w, copy } = await twoHomes(t, access, blocks);
      const data = pattern(blocks * 512, 9);
      for (let lba = 0; lba < blocks; lba += 1000)
        await w.write(lba, data.subarray(lba * 512, (lba + 1000) * 512));

      let isMoving = true;
      const moves = (async () => {
        for (const to of ['m3', 'm1', 'm2', 'm1']) t.equal(await group.move(to), 'done');
        isMoving = false;
      })();
      let copies = 0;
      for (; isMoving || copies < 3; copies++) {
        const to = copies % 96;
        t.equal(await copy({ source: 0, destination: 1, to }), SAID.GOOD, `copy ${copies}`);
        t.equal(await copy({ source: 1, destination: 0, from: to, to: 4100 }), SAID.GOOD, 'and back');
        const there = await again(() => v.read(to + 7, 100));
        const back = await again(() => w.read(4107, 100));
        const expected = data.subarray(7 * 512, 107 * 512);
        if (!there.equals(expected) || !back.equals(expected)) t.fail(`copy ${copies} is wrong`);
        await again(() => v.write(to + 7, Buffer.alloc(512, copies)));
        await sleep(systemClock, 1);
      }
      await moves;
      t.comment(`${copies} copies`);
      await v.close();
      t.match(await copy({ source: 0, destination: 1 }), /^2 70000a.{18}0d02/, 'it has logged out there');
      await w.close();
    });
  }
});
