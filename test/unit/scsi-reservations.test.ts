/**
 * Reservations of one unit as initiators see them: PERSISTENT RESERVE IN and OUT by their bytes (SPC-4 6.15, 6.16), who may do
 * what under each type (SPC-4 table 42, SBC-3 table 13), RESERVE and RELEASE, unit attentions, PREEMPT AND ABORT.
 */
import t from 'tap';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import type { Change } from '../../lib/scsi/reservations/changes.js';
import { LocalKeeper } from '../../lib/scsi/reservations/keeper.js';
import type { Reservations } from '../../lib/scsi/reservations/state.js';
import { ScsiStatus } from '../../lib/scsi/task.js';
import { RamDevice } from '../support/ram-device.js';
import { COMMANDS, HARMLESS, LOAD, RIGHTS } from '../support/reservation-rights.js';
import { cdb10, hex } from '../support/scsi-rig.js';
import { IDENTITY, nexusOf, type Runner, type RunnerTask, said, scsiRunner } from '../support/scsi-runner.js';

const CONFLICT = 'status 18';
const TEST_UNIT_READY = '00 00 00 00 00 00';
const READ = cdb10('28', 0, 0, 1);
const WRITE = cdb10('2a', 0, 0, 1);
const A = 'a'.repeat(16);
const B = 'b'.repeat(16);
const C = 'c'.repeat(16);
const NONE = '0'.repeat(16);
const REGISTER = 0;
const RESERVE = 1;
const RELEASE = 2;
const CLEAR = 3;
const PREEMPT = 4;
const PREEMPT_AND_ABORT = 5;
const IGNORE = 6;
const MOVE = 7;

interface Initiator extends Runner {
  readonly nexus: ReturnType<typeof nexusOf>;
  /** One service action of PERSISTENT RESERVE OUT; what is said to it. */
  out(action: number, key: string, serviceActionKey?: string, type?: number): Promise<string>;
  in(action: number): Promise<Buffer>;
  says(cdb: string): Promise<string>;
}

/** As where a store keeps them. */
class StoredKeeper extends LocalKeeper {
  override readonly survivePowerLoss = true;
}

/** Initiators of one unit of 64 blocks. */
const initiators = (...names: string[]): Initiator[] => initiatorsOf(new StoredKeeper(), names);

function initiatorsOf(reservations: LocalKeeper, names: readonly string[]): Initiator[] {
  const device = new RamDevice(64 * 512);
  const server = new DiskServer({ device, identity: IDENTITY, reservations });
  return names.map((name) => {
    const nexus = nexusOf(`iqn.2026-11.test:${name}`);
    server.nexusBegan(nexus);
    const { run: runAs, last } = scsiRunner(device, server);
    const run: Runner['run'] = (cdb, data, lun) => runAs(cdb, data, lun, nexus);
    const runner = { server, run, last };
    const out = async (action: number, key: string, serviceActionKey = NONE, type = 0): Promise<string> => {
      const list = Buffer.from(key + serviceActionKey + '00'.repeat(8), 'hex');
      return said(await runner.run(`5f ${hex(action, 2)} ${hex(type, 2)} 0000 00000018 00`, list));
    };
    return {
      ...runner,
      nexus,
      out,
      in: async (action) => (await runner.run(`5e ${hex(action, 2)} 0000000000 1000 00`)).dataIn,
      says: async (cdb) => said(await runner.run(cdb, Buffer.alloc(512))),
    };
  });
}

const two = (): [Initiator, Initiator] => initiators('one', 'two') as [Initiator, Initiator];
const three = (): [Initiator, Initiator, Initiator] =>
  initiators('one', 'two', 'three') as [Initiator, Initiator, Initiator];

t.test('keys: registered, changed, listed, given up', async (t) => {
  const [one, two_] = two();
  t.equal((await one.in(0)).toString('hex'), '00000000' + '00000000', 'nobody yet');
  t.equal(await one.out(REGISTER, A, B), CONFLICT, 'a key that it does not have');
  t.equal(await one.out(REGISTER, NONE, NONE), 'GOOD', 'nothing to give up');
  t.equal(await one.out(REGISTER, NONE, A), 'GOOD');
  t.equal(await two_.out(IGNORE, C, B), 'GOOD', 'whatever it had');
  t.equal((await one.in(0)).toString('hex'), '00000002' + '00000010' + A + B);
  t.equal(await one.out(REGISTER, A, C), 'GOOD');
  t.equal(await two_.out(IGNORE, NONE, NONE), 'GOOD');
  t.equal((await one.in(0)).toString('hex'), '00000004' + '00000008' + C);
});

t.test('parameter lists and service actions that are none', async (t) => {
  const [one] = two();
  const run = async (cdb: string, list: Buffer): Promise<string> => said(await one.run(cdb, list));
  t.equal(await run('5f 00 00 0000 00000010 00', Buffer.alloc(16)), '5/1a/00');
  t.equal(await run('5f 00 00 0000 0000001c 00', Buffer.alloc(28)), '5/1a/00', 'longer, without SPEC_I_PT');
  t.equal(await run('5f 00 00 0000 01000000 00', Buffer.alloc(28)), '5/1a/00', 'far longer');
  t.equal(await run('5f 08 00 0000 00000018 00', Buffer.alloc(24)), '5/24/00');
  t.equal(await one.says('5e 04 0000000000 0010 00'), '5/24/00');
  const flagged = Buffer.alloc(24);
  flagged[20] = 0x04; // ALL_TG_PT
  t.equal(await run('5f 00 00 0000 00000018 00', flagged), '5/26/00');
  flagged[20] = 0x08; // SPEC_I_PT
  t.equal(await run('5f 01 01 0000 00000018 00', flagged), '5/26/00', 'for REGISTER alone');
  for (const ignored of [0x04, 0x01]) {
    flagged[20] = ignored; // ALL_TG_PT, APTPL
    t.equal(await run('5f 01 01 0000 00000018 00', flagged), CONFLICT, 'ignored: it is not registered');
  }
  flagged[20] = 0x08;
  t.equal(await run('5f 00 00 0000 00000018 00', flagged), '5/1a/00', 'and with a list');
  t.equal(await one.out(RESERVE, NONE, NONE, 1), CONFLICT, 'not registered');
  await one.out(REGISTER, NONE, A);
  t.equal(await one.out(RESERVE, A, NONE, 0x11), '5/24/00', 'SCOPE');
  t.equal(await one.out(RESERVE, A, NONE, 2), '5/24/00', 'TYPE');
  t.equal(await one.out(RESERVE, B, NONE, 1), CONFLICT, 'the wrong key');
});

for (const [type, ...rights] of RIGHTS) {
  t.test(`who may do what under type ${type}h`, async (t) => {
    const all = three();
    const [one, two_] = all;
    await one.out(REGISTER, NONE, A);
    await two_.out(REGISTER, NONE, B);
    t.equal(await one.out(RESERVE, A, NONE, type), 'GOOD');
    const shared = type >= 7;
    t.equal(
      (await one.in(1)).toString('hex'),
      '00000002' + '00000010' + (shared ? NONE : A) + '00000000' + `000${type}` + '0000',
    );
    for (const [i, right] of rights.entries()) {
      const who = all[i] as Initiator;
      for (const [letter, cdbs] of Object.entries(COMMANDS)) {
        for (const cdb of letter === 'T' ? [...cdbs, LOAD] : cdbs) {
          const outcome = await who.says(cdb);
          const expected = right.includes(letter);
          t.equal(outcome === CONFLICT, !expected, `initiator ${i + 1}, ${cdb}: ${outcome}`);
        }
      }
      for (const cdb of HARMLESS) t.equal(await who.says(cdb), 'GOOD', 'to everybody');
    }
    t.equal(await two_.out(RESERVE, B, NONE, type), shared ? 'GOOD' : CONFLICT, 'a second reservation');
    t.equal(await one.out(RESERVE, A, NONE, type === 1 ? 3 : 1), CONFLICT, 'another type');
    t.equal(await one.out(RELEASE, A, NONE, type === 1 ? 3 : 1), '5/26/04', 'another type');
    t.equal(await one.out(RELEASE, A, NONE, type), 'GOOD');
    const told = type >= 5 ? '6/2a/04' : 'GOOD';
    t.equal(await two_.says(TEST_UNIT_READY), told, 'RESERVATIONS RELEASED');
    t.equal(await two_.says(WRITE), 'GOOD');
    t.equal(await one.says(TEST_UNIT_READY), 'GOOD', 'the one that did it is not told');
  });
}

t.test('a release by who does not hold it does nothing, and is no error', async (t) => {
  const [one, two_] = two();
  await one.out(REGISTER, NONE, A);
  await two_.out(REGISTER, NONE, B);
  await one.out(RESERVE, A, NONE, 1);
  t.equal(await two_.out(RELEASE, B, NONE, 1), 'GOOD');
  t.equal(await two_.says(WRITE), CONFLICT);
});

t.test('giving the key up releases what it held', async (t) => {
  for (const [type, told] of [
    [1, 'GOOD'],
    [5, '6/2a/04'],
  ] as const) {
    const [one, two_] = two();
    await one.out(REGISTER, NONE, A);
    await two_.out(REGISTER, NONE, B);
    await one.out(RESERVE, A, NONE, type);
    t.equal(await one.out(REGISTER, A, NONE), 'GOOD');
    t.equal(await two_.says(TEST_UNIT_READY), told);
    t.equal(await two_.says(WRITE), 'GOOD');
  }
  const [one, two_] = two();
  await one.out(REGISTER, NONE, A);
  await two_.out(REGISTER, NONE, B);
  await one.out(RESERVE, A, NONE, 7);
  t.equal(await one.out(REGISTER, A, NONE), 'GOOD');
  t.equal(await one.says(WRITE), CONFLICT, 'all registrants: the last one takes it along');
  t.equal(await two_.says(WRITE), 'GOOD');
  t.equal(await two_.out(REGISTER, B, NONE), 'GOOD');
  t.equal(await one.says(WRITE), 'GOOD');
});

t.test('CLEAR takes everything from everybody', async (t) => {
  const [one, two_] = two();
  await one.out(REGISTER, NONE, A);
  await two_.out(REGISTER, NONE, B);
  await two_.out(RESERVE, B, NONE, 3);
  t.equal(await one.out(CLEAR, A), 'GOOD');
  t.equal(await two_.says(READ), '6/2a/03', 'RESERVATIONS PREEMPTED');
  t.equal(await two_.says(READ), 'GOOD');
  t.equal((await one.in(0)).toString('hex'), '00000003' + '00000000');
  t.equal((await one.in(1)).toString('hex'), '00000003' + '00000000');
});

t.test('PREEMPT takes registrations, and the reservation with its holder', async (t) => {
  const [one, two_, third] = three();
  await one.out(REGISTER, NONE, A);
  await two_.out(REGISTER, NONE, B);
  await third.out(REGISTER, NONE, C);
  await one.out(RESERVE, A, NONE, 5);
  t.equal(await two_.out(PREEMPT, B, NONE, 1), '5/26/00', 'a key of zero');
  t.equal(await two_.out(PREEMPT, B, 'd'.repeat(16), 1), CONFLICT, 'a key that nobody has');
  t.equal(await two_.out(PREEMPT, B, C, 1), 'GOOD');
  t.equal(await third.says(TEST_UNIT_READY), '6/2a/05', 'REGISTRATIONS PREEMPTED');
  t.equal(await third.says(WRITE), CONFLICT);
  t.equal(await one.says(WRITE), 'GOOD', 'the reservation stands');
  t.equal(await two_.out(PREEMPT, B, A, 3), 'GOOD');
  t.equal(await one.says(TEST_UNIT_READY), '6/2a/05');
  t.equal(await one.says(READ), CONFLICT);
  t.equal((await two_.in(1)).toString('hex', 8), B + '00000000' + '0003' + '0000');
  t.equal(one.nexus.aborts + third.nexus.aborts, 0);
});

t.test('PREEMPT of all registrants, by key and all of them', async (t) => {
  const [one, two_, third] = three();
  for (const [who, key] of [
    [one, A],
    [two_, B],
    [third, C],
  ] as const)
    await who.out(REGISTER, NONE, key);
  await one.out(RESERVE, A, NONE, 8);
  t.equal(await two_.out(PREEMPT, B, C, 3), 'GOOD');
  t.equal((await two_.in(1))[21], 8, 'the reservation is as it was');
  t.equal(await third.says(READ), '6/2a/05');
  t.equal(await third.says(READ), CONFLICT);
  t.equal(await two_.out(PREEMPT, B, NONE, 3), 'GOOD');
  t.equal((await two_.in(0)).toString('hex', 8), B);
  t.equal((await two_.in(1))[21], 3);
  t.equal(await one.says(READ), '6/2a/05');
  t.equal(await one.says(READ), CONFLICT);
});

t.test('PREEMPT of the own key unregisters who asks, unless it takes over', async (t) => {
  for (const action of [PREEMPT, PREEMPT_AND_ABORT]) {
    const [one, two_, third] = three();
    for (const who of [one, two_]) await who.out(REGISTER, NONE, A);
    await third.out(REGISTER, NONE, C);
    await third.out(RESERVE, C, NONE, 1);
    t.equal(await one.out(action, A, A, 1), 'GOOD');
    t.equal((await one.in(0)).toString('hex', 8), C, 'with everybody who has that key');
    t.equal((await one.in(1)).toString('hex', 8, 16), C, "the reservation is another one's");
    t.equal(await one.says(READ), 'GOOD', 'who asked is told nothing');
    t.equal(await two_.says(READ), '6/2a/05');
    t.equal(one.nexus.aborts, 0, 'the command itself is answered');
    t.equal(await third.out(action, C, C, 3), 'GOOD', 'of its own reservation');
    t.equal((await third.in(0)).toString('hex', 8), C, 'it takes over, and stays');
    t.equal((await third.in(1))[21], 3);
    t.equal(await third.out(RELEASE, C, NONE, 3), 'GOOD');
    t.equal(await third.out(action, C, C, 3), 'GOOD', 'nothing is reserved');
    t.equal((await third.in(0)).toString('hex', 8), '');
  }
});

t.test('PREEMPT of the last registrant ends what all registrants hold', async (t) => {
  const [one, two_] = two();
  for (const who of [one, two_]) await who.out(REGISTER, NONE, A);
  await one.out(RESERVE, A, NONE, 7);
  t.equal(await one.out(PREEMPT, A, A, 7), 'GOOD');
  t.equal((await one.in(0)).toString('hex', 8), '');
  t.equal((await one.in(1)).toString('hex', 8), '');
  t.equal(await one.says(WRITE), 'GOOD');
});

t.test('PREEMPT AND ABORT answers when what it aborts has ended', async (t) => {
  const [one, two_] = two();
  await one.out(REGISTER, NONE, A);
  await two_.out(REGISTER, NONE, B);
  await one.out(RESERVE, A, NONE, 3);
  t.equal(await two_.out(PREEMPT_AND_ABORT, B, A, 3), 'GOOD');
  t.equal(one.nexus.aborts, 1);
  t.equal(two_.nexus.aborts, 0);
  t.equal(await two_.says(WRITE), 'GOOD');
});

t.test('what a process alone has does not outlive it, and is not said to', async (t) => {
  const [one] = initiatorsOf(new LocalKeeper(), ['one']) as [Initiator];
  t.equal((await one.in(2)).toString('hex'), '0008' + '1880' + 'ea01' + '0000', 'PTPL_C is 0');
  const list = Buffer.from(NONE + A + '00000000' + '01000000', 'hex');
  t.equal(said(await one.run('5f 00 00 0000 00000018 00', list)), '5/26/00', 'REGISTER with APTPL');
  t.equal(said(await one.run('5f 06 00 0000 00000018 00', list)), '5/26/00', 'and whatever it had');
  t.equal((await one.in(0)).toString('hex'), '00000000' + '00000000', 'nobody is registered');
  t.equal(await one.out(REGISTER, NONE, A), 'GOOD', 'without');
});

t.test('APTPL is as the last REGISTER had it, also of one that gives a key up', async (t) => {
  const [one, two_] = two();
  const register = async (who: Initiator, action: number, key: string, newKey: string, aptpl: boolean) => {
    const list = Buffer.from(`${key}${newKey}00000000${aptpl ? '01' : '00'}000000`, 'hex');
    return said(await who.run(`5f ${hex(action, 2)} 00 0000 00000018 00`, list));
  };
  const isKept = async (): Promise<boolean> => ((await one.in(2)).readUInt8(3) & 0x01) !== 0; // PTPL_A
  t.equal(await register(one, REGISTER, NONE, A, true), 'GOOD');
  t.ok(await isKept());
  t.equal(await register(two_, REGISTER, NONE, NONE, false), 'GOOD');
  t.ok(await isKept(), 'one that had nothing to give up changes nothing');
  for (const action of [REGISTER, IGNORE]) {
    t.equal(await register(two_, IGNORE, NONE, B, true), 'GOOD');
    t.equal(await register(two_, action, B, NONE, false), 'GOOD');
    t.notOk(await isKept(), 'given up without');
    t.equal(await register(two_, IGNORE, NONE, B, false), 'GOOD');
    t.equal(await register(two_, action, B, NONE, true), 'GOOD');
    t.ok(await isKept(), 'given up with');
  }
});

/** SPC-4 7.6.4.6. */
function transportId(name: string): Buffer {
  const id = Buffer.alloc(4 + Math.ceil((Buffer.byteLength(name) + 1) / 4) * 4);
  id[0] = 0x45;
  id.writeUInt16BE(id.length - 4, 2);
  id.write(name, 4);
  return id;
}

t.test('READ FULL STATUS names the ports, REGISTER brings some along', async (t) => {
  const [one, two_] = two();
  const id = transportId(two_.nexus.initiatorPortName);
  const list = Buffer.concat([
    Buffer.from(NONE + A + '00000000' + '09000000', 'hex'),
    Buffer.from(hex(id.length, 8), 'hex'),
    id,
  ]);
  t.equal(said(await one.run(`5f 00 00 0000 ${hex(list.length, 8)} 00`, list)), 'GOOD');
  await two_.out(RESERVE, A, NONE, 1);
  const status = await one.in(3);
  const lengthBytes = 24 + transportId(one.nexus.initiatorPortName).length;
  t.equal(status.readUInt32BE(4), status.length - 8);
  t.equal(status.toString('hex', 8, 16), A);
  t.equal(status.toString('latin1', 8 + 24 + 4).split('\0')[0], one.nexus.initiatorPortName);
  const second = status.subarray(8 + lengthBytes);
  t.equal(second.toString('hex', 12, 14), '0101', 'the holder, and its type');
  t.ok(second.subarray(24).equals(id));
  t.equal((await one.in(2)).toString('hex'), '0008' + '1981' + 'ea01' + '0000', 'PTPL_A');
});

t.test('REGISTER brings along only who is not registered, with who is not', async (t) => {
  const [one, two_] = two();
  const withPorts = async (from: Initiator, key: string, newKey: string, port: string): Promise<string> => {
    const id = transportId(port);
    const list = Buffer.from(
      `${key}${newKey}0000000008000000${hex(id.length, 8)}${id.toString('hex')}`,
      'hex',
    );
    return said(await from.run(`5f 00 00 0000 ${hex(list.length, 8)} 00`, list));
  };
  const third = 'iqn.2026-11.test:three,i,0x800000000001';
  await one.out(REGISTER, NONE, A);
  await one.out(RESERVE, A, NONE, 1);
  t.equal(await withPorts(one, A, NONE, third), '5/26/00', 'who is registered does not give its key up so');
  t.equal(await withPorts(one, A, C, third), '5/26/00', 'nor change it');
  t.equal(await withPorts(one, B, C, third), CONFLICT, 'and has to know it first');
  t.equal(await withPorts(two_, NONE, NONE, third), 'GOOD', 'nothing to give up');
  t.equal(await withPorts(two_, NONE, B, one.nexus.initiatorPortName), '5/26/00', 'it is registered');
  t.equal((await one.in(0)).toString('hex'), '00000001' + '00000008' + A, 'nothing has changed');
  t.equal(await two_.says(WRITE), CONFLICT);
  t.equal(await withPorts(two_, NONE, B, third), 'GOOD');
  t.equal((await one.in(0)).toString('hex'), '00000002' + '00000018' + A + B + B);
});

t.test('REGISTER AND MOVE hands the reservation on', async (t) => {
  const [one, two_, third] = three();
  const move = async (from: Initiator, key: string, to: string, unregister: boolean): Promise<string> => {
    const id = transportId(to);
    const head = Buffer.from(key + C + '00' + (unregister ? '02' : '00') + '0001' + hex(id.length, 8), 'hex');
    const list = Buffer.concat([head, id]);
    return said(await from.run(`5f ${hex(MOVE, 2)} 01 0000 ${hex(list.length, 8)} 00`, list));
  };
  await one.out(REGISTER, NONE, A);
  t.equal(await move(two_, A, one.nexus.initiatorPortName, true), CONFLICT, 'not registered');
  t.equal(await move(one, A, two_.nexus.initiatorPortName, true), '5/24/00', 'nothing to hand on');
  await third.out(REGISTER, NONE, B);
  await one.out(RESERVE, A, NONE, 7);
  t.equal(await move(one, A, two_.nexus.initiatorPortName, true), CONFLICT, 'it is of all registrants');
  await one.out(RELEASE, A, NONE, 7);
  t.equal(await third.says(WRITE), '6/2a/04');
  await one.out(RESERVE, A, NONE, 1);
  t.equal(await move(third, B, two_.nexus.initiatorPortName, true), CONFLICT, 'it is not its own');
  await third.out(REGISTER, B, NONE);
  await one.out(RELEASE, A, NONE, 1);
  await one.out(RESERVE, A, NONE, 1);
  t.equal(await move(one, A, one.nexus.initiatorPortName, true), '5/26/00', 'to itself');
  t.equal(await move(one, A, two_.nexus.initiatorPortName, true), 'GOOD');
  t.equal((await one.in(0)).toString('hex', 8), C);
  t.equal(await one.says(WRITE), CONFLICT);
  t.equal(await two_.says(WRITE), 'GOOD');
  t.equal(await third.says(WRITE), CONFLICT);
});

t.test('REGISTER AND MOVE to one port there is, through one there is', async (t) => {
  const [one, two_] = two();
  await one.out(REGISTER, NONE, A);
  await one.out(RESERVE, A, NONE, 1);
  const id = transportId(two_.nexus.initiatorPortName);
  const move = async (port: string, ids: Buffer): Promise<string> => {
    const head = Buffer.from(A + C + '0000' + port + hex(ids.length, 8), 'hex');
    const list = Buffer.concat([head, ids]);
    return said(await one.run(`5f ${hex(MOVE, 2)} 01 0000 ${hex(list.length, 8)} 00`, list));
  };
  t.equal(await move('0001', Buffer.concat([id, id])), '5/26/00', 'two');
  t.equal(await move('0009', id), '5/26/00', 'a target port that there is not');
  t.equal(await one.says(WRITE), 'GOOD', 'nothing moved');
  t.equal(await move('0001', id), 'GOOD');
});

t.test('ports are named as they log in, byte by byte', async (t) => {
  for (const name of ['Host_A', 'größe', '主機']) {
    const [one, other] = initiators('one', name) as [Initiator, Initiator];
    await one.out(REGISTER, NONE, A);
    await one.out(RESERVE, A, NONE, 1);
    const id = transportId(other.nexus.initiatorPortName);
    const list = Buffer.concat([Buffer.from(`${A}${C}00000001${hex(id.length, 8)}`, 'hex'), id]);
    t.equal(said(await one.run(`5f ${hex(MOVE, 2)} 01 0000 ${hex(list.length, 8)} 00`, list)), 'GOOD', name);
    t.equal(await other.says(WRITE), 'GOOD', 'it holds the reservation now');
    const status = await one.in(3);
    t.ok(status.includes(id), 'and is in READ FULL STATUS as it was sent');
  }
});

t.test('a name is as long as a name may be, however short its ISID is written', async (t) => {
  for (const [bytes, expected] of [
    [223, 'GOOD'],
    [224, '5/26/00'],
    [237, '5/26/00'],
  ] as const) {
    const keeper = new StoredKeeper();
    const [one] = initiatorsOf(keeper, ['one']) as [Initiator];
    const id = transportId(`${'iqn.'.padEnd(bytes, 'x')},i,0x1`);
    const list = Buffer.concat([Buffer.from(`${NONE}${A}0000000008000000${hex(id.length, 8)}`, 'hex'), id]);
    t.equal(said(await one.run(`5f 00 00 0000 ${hex(list.length, 8)} 00`, list)), expected, `${bytes} bytes`);
    for (const { initiatorPort } of keeper.state.registrations)
      t.ok(Buffer.byteLength(initiatorPort) <= 245, 'as the store keeps it');
  }
});

t.test('RESERVE and RELEASE', async (t) => {
  const [one, two_] = two();
  t.equal(await one.says('16 00 00 00 00 00'), 'GOOD');
  t.equal(await one.says('56 00 00 00 00 00 00 0000 00'), 'GOOD', 'again');
  t.equal(await two_.says('16 00 00 00 00 00'), CONFLICT);
  t.equal(await two_.says(TEST_UNIT_READY), CONFLICT);
  for (const who of [one, two_]) {
    t.equal(await who.out(REGISTER, NONE, B), CONFLICT, 'whose ever it is');
    t.equal(await who.out(8, NONE), CONFLICT, 'whatever it asks for');
    t.equal(await who.says('5e 02 0000000000 1000 00'), CONFLICT);
  }
  t.equal(await two_.says('12 00 00 00 ff 00'), 'GOOD');
  t.equal(await two_.says('17 00 00 00 00 00'), 'GOOD', 'no error');
  t.equal(await two_.says(READ), CONFLICT, 'and no effect');
  t.equal(await one.says(WRITE), 'GOOD');
  t.equal(await one.says('16 10 00 00 00 00'), '5/24/00', 'for a third party');
  t.equal(await one.says('57 00 00 00 00 00 00 0000 00'), 'GOOD');
  t.equal(await two_.says(READ), 'GOOD');

  await one.says('16 00 00 00 00 00');
  one.server.nexusEnded(one.nexus);
  t.equal(await two_.says(READ), 'GOOD', 'it ends with its nexus');
  await two_.says('16 00 00 00 00 00');
  two_.server.reset(() => undefined);
  t.equal(await one.says(READ), 'GOOD', 'and with a reset');
});

t.test('a RESERVE that is written before a PERSISTENT RESERVE OUT goes before it', async (t) => {
  let between = (): void => undefined;
  class BusyKeeper extends LocalKeeper {
    override change(...args: Parameters<LocalKeeper['change']>): void {
      between();
      super.change(...args);
    }
  }
  const keeper = new BusyKeeper();
  const [one] = initiatorsOf(keeper, ['one']) as [Initiator];
  between = () => (keeper.state = { ...keeper.state, reservedBy: 'another', reservedAt: '' });
  t.equal(await one.out(REGISTER, NONE, A), CONFLICT);
  t.strictSame(keeper.state.registrations, []);
});

t.test('RESERVE beside persistent reservations (CRH)', async (t) => {
  const [one, two_] = two();
  await one.out(REGISTER, NONE, A);
  t.equal(await two_.says('16 00 00 00 00 00'), CONFLICT);
  t.equal(await one.says('16 00 00 00 00 00'), CONFLICT, 'registered, but nothing is reserved');
  await one.out(RESERVE, A, NONE, 1);
  t.equal(await one.says('16 00 00 00 00 00'), 'GOOD');
  t.equal(await one.says('17 00 00 00 00 00'), 'GOOD');
  t.equal(await two_.says(WRITE), CONFLICT, 'the persistent one stands');
  one.server.reset(() => undefined);
  t.equal(await two_.says(WRITE), '6/29/03');
  one.server.nexusEnded(one.nexus);
  t.equal(await two_.says(WRITE), CONFLICT, 'whatever happens to its session');
});

t.test('a PERSISTENT RESERVE OUT that stands waits for nobody who waits for it', async (t) => {
  class SlowKeeper extends LocalKeeper {
    isWritten = false;
    everybodyGoesByIt = (): void => undefined;
    override change(
      make: (state: Reservations) => Change,
      done: (change: Change | null) => void,
      written?: () => void,
    ): void {
      if (!this.isWritten) this.everybodyGoesByIt = () => super.change(make, done);
      else {
        written?.();
        this.everybodyGoesByIt = () => super.change(make, done);
      }
    }
  }
  const keeper = new SlowKeeper();
  const device = new RamDevice(64 * 512);
  const server = new DiskServer({ device, identity: IDENTITY, reservations: keeper });
  const register = async (): Promise<RunnerTask> => {
    const runner = scsiRunner(device, server);
    void runner.run('5f 00 00 0000 00000018 00', Buffer.alloc(24).fill(1, 8, 16));
    return Promise.resolve(runner.last() as RunnerTask);
  };
  const early = await register();
  t.equal(early.letGo, null, 'before that it may still be refused');
  keeper.everybodyGoesByIt();
  t.match(early.outcomes, [{ status: ScsiStatus.GOOD }]);
  keeper.isWritten = true;
  const late = await register();
  late.letGo?.();
  keeper.everybodyGoesByIt();
  t.strictSame(late.outcomes, [], 'the transport has ended it');
});
