/**
 * What initiators have made of a unit, in a group of real processes (I9): reservations are judged by the tables of the
 * standards before, during and after a move and after a kill -9 of the home; modes, the medium and a sanitize operation
 * are where the home is.
 */
import t from 'tap';
import { parseSense } from '../../lib/iscsi/initiator/cdb.js';
import { Initiator } from '../../lib/iscsi/initiator/index.js';
import { killMember, startGroup, type TestGroup } from '../support/group.js';
import { COMMANDS, HARMLESS, RIGHTS } from '../support/reservation-rights.js';
import { cdb10, hex } from '../support/scsi-rig.js';
import { until } from '../support/wait.js';

const GOOD = 0x00;
const CHECK_CONDITION = 0x02;
const RESERVATION_CONFLICT = 0x18;
const UNIT_ATTENTION = 0x06;
const BLOCK = 512;
/** 4 MiB, as by default. */
const EXTENT_BLOCKS = 8192;
const WRITE = cdb10('2a', 0, 0, 1);
const TEST_UNIT_READY = '00 00 00 00 00 00';
const [REGISTER_AND_IGNORE, RESERVE, CLEAR] = [6, 1, 3];
const KEYS = ['a'.repeat(16), 'b'.repeat(16)] as const;
const NONE = '0'.repeat(16);

interface Move {
  readonly id: string;
  readonly state: string;
}

/** An initiator that says what it is told: the status, or the sense of a CHECK CONDITION; unit attentions are taken. */
class Host {
  private constructor(readonly initiator: Initiator) {}

  static async connect(group: TestGroup, name: string, member: number, volume = 'disk'): Promise<Host> {
    const portal = group.ready.members[member]?.portal ?? group.ready.portal;
    const url = `iscsi://${portal}/iqn.2026-11.org.blockferry:${volume}/0`;
    return new Host(
      await Initiator.connect(url, { initiatorName: `iqn.2026-11.test:${name}`, isid: '800000000001' }),
    );
  }

  async says(cdb: string, dataOut?: Buffer): Promise<string> {
    const command = Buffer.from(cdb.replaceAll(' ', '').padEnd(32, '0'), 'hex');
    const opcode = command[0] ?? 0;
    const writes = [0x2a, 0x8a, 0x2e, 0x41].includes(opcode) ? Buffer.alloc(BLOCK, 1) : undefined;
    const data = dataOut ?? writes;
    for (;;) {
      const options = data === undefined ? { dataInBytes: BLOCK } : { dataOut: data };
      const { status, sense } = await this.initiator.execute(command, options);
      if (status === GOOD) return 'GOOD';
      if (status !== CHECK_CONDITION) return `status ${hex(status, 2)}`;
      const { key = 0, asc = 0, ascq = 0 } = parseSense(sense) ?? {};
      if (key !== UNIT_ATTENTION) return [key, asc, ascq].map((byte) => hex(byte, 2)).join('/');
    }
  }

  out(action: number, key: string, serviceActionKey: string, type = 0): Promise<string> {
    const list = Buffer.from(`${key}${serviceActionKey}${'00'.repeat(8)}`, 'hex');
    return this.says(`5f ${hex(action, 2)} ${hex(type, 2)} 0000 00000018 00`, list);
  }

  close(): Promise<void> {
    return this.initiator.close();
  }
}

interface Rights {
  readonly wrong: string[];
  readonly asked: number;
}

/** Asks everything of everybody: what is allowed and should not be, or the other way round. */
async function judge(hosts: readonly Host[], type: number): Promise<Rights> {
  const rights = RIGHTS.find(([candidate]) => candidate === type);
  if (rights === undefined) throw new Error(`type ${type}`);
  const wrong: string[] = [];
  let asked = 0;
  const conflict = `status ${hex(RESERVATION_CONFLICT, 2)}`;
  for (const [index, host] of hosts.entries()) {
    const may = String(rights[index + 1]);
    for (const [letter, cdbs] of [...Object.entries(COMMANDS), ['', HARMLESS] as const]) {
      for (const cdb of cdbs) {
        const said = await host.says(cdb);
        asked += 1;
        if (said !== (may.includes(letter) ? 'GOOD' : conflict))
          wrong.push(`type ${type}, host ${index + 1}, ${cdb}: ${said}`);
      }
    }
  }
  return { wrong, asked };
}

/** The holder and another registrant take their places under that type. */
async function reserve([holder, registrant]: readonly Host[], type: number): Promise<string[]> {
  if (holder === undefined || registrant === undefined) throw new Error('two hosts at least');
  const said = [await holder.out(REGISTER_AND_IGNORE, NONE, KEYS[0]), await holder.out(CLEAR, KEYS[0], NONE)];
  said.push(await holder.out(REGISTER_AND_IGNORE, NONE, KEYS[0]));
  said.push(await registrant.out(REGISTER_AND_IGNORE, NONE, KEYS[1]));
  said.push(await holder.out(RESERVE, KEYS[0], NONE, type));
  return said;
}

/** Every type, reserved anew and judged. */
async function judgeAll(hosts: readonly Host[]): Promise<Rights> {
  const wrong: string[] = [];
  let asked = 0;
  for (const [type] of RIGHTS) {
    for (const said of await reserve(hosts, type)) if (said !== 'GOOD') wrong.push(`type ${type}: ${said}`);
    const judged = await judge(hosts, type);
    wrong.push(...judged.wrong);
    asked += judged.asked;
  }
  return { wrong, asked };
}

async function homeOf(group: TestGroup, volume: string): Promise<string | undefined> {
  const volumes = await group.client.volumes();
  return volumes.find(({ name }) => name === volume)?.home;
}

t.test('reservations before, during and after a move, and after kill -9 of the home', async (t) => {
  const group = await startGroup(t, { volumes: { disk: '256M' } });
  const hosts = await Promise.all([
    Host.connect(group, 'holder', 0),
    Host.connect(group, 'registrant', 1),
    Host.connect(group, 'stranger', 2),
  ]);
  const [holder] = hosts;
  const fill = Buffer.alloc(1024 * 1024, 5);
  for (let extent = 0; extent < 64; extent++) await holder.initiator.write(extent * EXTENT_BLOCKS, fill);

  const before = await judgeAll(hosts);
  t.strictSame(before.wrong, [], `before: ${before.asked} commands`);

  const { id } = await group.json<Move>('move', 'disk', '--to', 'm2', '--rate', '2M', '--no-wait');
  const during = await judgeAll(hosts);
  t.strictSame(during.wrong, [], `during: ${during.asked} commands`);
  const moves = await group.json<Move[]>('moves');
  t.equal(moves.find((move) => move.id === id)?.state, 'active', 'it was not over before they were');
  await group.json('moves', '--cancel', id);

  for (const [index, to] of ['m2', 'm3', 'm1'].entries()) {
    const type = RIGHTS[index + 1]?.[0] ?? 1;
    t.strictSame(new Set(await reserve(hosts, type)), new Set(['GOOD']));
    await group.json('move', 'disk', '--to', to);
    t.strictSame((await judge(hosts, type)).wrong, [], `type ${type} is what it was, at ${to}`);
    await killMember(group, to);
    t.strictSame((await judge(hosts, type)).wrong, [], `type ${type} is what it was, after kill -9 of ${to}`);
  }
  const after = await judgeAll(hosts);
  t.strictSame(after.wrong, [], `after: ${after.asked} commands`);
  for (const host of hosts) {
    t.strictSame(host.initiator.violations, []);
    await host.close();
  }
});

t.test('modes, the medium and a sanitize operation, over moves and kill -9', async (t) => {
  const group = await startGroup(t);
  await group.json('volume', 'create', 'tray', '--size', '2G', '--removable', '--home', 'm1');
  const host = await Host.connect(group, 'host', 1, 'tray');
  const protect = (isProtected: boolean): Promise<string> =>
    host.says(
      '15 10 00 00 10 00',
      Buffer.from(`000000000a0a0010${isProtected ? '08' : '00'}40${'00'.repeat(6)}`, 'hex'),
    );
  const PROTECTED = '07/27/00';
  t.equal(await host.says(WRITE), 'GOOD');
  t.equal(await protect(true), 'GOOD');
  await group.json('move', 'tray', '--to', 'm2');
  t.equal(await host.says(WRITE), PROTECTED, 'at the next home');
  await killMember(group, 'm2');
  t.equal(await host.says(WRITE), PROTECTED, 'and its next life');
  t.equal(await protect(false), 'GOOD');
  t.equal(await host.says('1b 00 00 00 02 00'), 'GOOD', 'ejected');
  await group.json('move', 'tray', '--to', 'm1');
  t.equal(await host.says(WRITE), '02/3a/00', 'MEDIUM NOT PRESENT at the next home');
  t.equal(await host.says('1b 00 00 00 03 00'), 'GOOD');
  t.equal(await host.says(WRITE), 'GOOD');

  // Written over in the background, which takes a second or more: its last block is written last.
  const list = Buffer.from('0100000107', 'hex');
  t.equal(await host.says('48 81 0000000000 0005 00', list), 'GOOD');
  t.equal(await host.says(TEST_UNIT_READY), '02/04/1b');
  await killMember(group, 'm1');
  await group.json('move', 'tray', '--to', 'm3', '--no-wait');
  for (;;) {
    const home = await homeOf(group, 'tray');
    if ((await host.says(TEST_UNIT_READY)) !== '02/04/1b') break;
    t.equal(home, 'm1', 'the home stays meanwhile');
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  const last = host.initiator.capacity.blocks - 1;
  t.ok(
    (await host.initiator.read(last, 1)).equals(Buffer.alloc(BLOCK, 7)),
    'the next life went on to the end',
  );
  t.equal(await host.says(WRITE), 'GOOD');
  await until('the home is m3', async () => (await homeOf(group, 'tray')) === 'm3');
  t.equal((await host.initiator.read(0, 1))[0], 1, 'and is over');
  await host.close();
});
