/**
 * Initiators that do not do their part in a hand-over: one that never logs out, one that does so late, ones that come
 * back to the old member, one that holds commands open. The move commits, the bad session is dropped at the deadline and
 * not before, nothing of it lands later (I8), and another initiator beside it sees nothing of all that.
 */
import t, { type Test } from 'tap';
import { HANDOVER_DEADLINE_SECONDS } from '../../lib/base/limits.js';
import { Initiator, Ledger, runFill, runLoad, runVerify } from '../../lib/iscsi/initiator/index.js';
import { decodeAsyncMessage } from '../../lib/iscsi/wire/async-message.js';
import { AsyncEvent, Opcode } from '../../lib/iscsi/wire/opcodes.js';
import { decodeR2t } from '../../lib/iscsi/wire/r2t.js';
import { decodeScsiResponse } from '../../lib/iscsi/wire/scsi.js';
import type { MoveView } from '../../lib/manage/api.js';
import { BACKGROUND_OPS_PER_SECOND, startGroup, type TestGroup } from '../support/group.js';
import { TargetInitiator, read10, write10, type Received } from '../support/target-initiator.js';
import { sleepMs, until } from '../support/wait.js';

const MiB = 1024 * 1024;
const BLOCK = 512;
const IQN = 'iqn.2026-11.org.blockferry:disk';
const BAD = 'iqn.2026-11.test:bad';
const DEADLINE_MS = HANDOVER_DEADLINE_SECONDS * 1000;
/** What other work on the machine may add to any of it. */
const SLACK_MS = 4000;
/** How much later than it was sent a message may be heard here on a busy machine. */
const HEARD_LATE_MS = 1000;
/** TEMPORARILY MOVED, as class and detail. */
const MOVED = 0x0101;

/** A session of the bad initiator at a member, with the Asynchronous Messages that came so far set apart. */
class BadSession {
  readonly asked: { atMs: number; event: number; parameter3: number }[] = [];

  private constructor(readonly wire: TargetInitiator) {}

  static async open(portal: string, keys: Record<string, string> = {}, isid?: string): Promise<BadSession> {
    const wire = await TargetInitiator.connect(portOf(portal));
    await wire.login(IQN, keys, isid === undefined ? {} : { isid }, BAD);
    return new BadSession(wire);
  }

  /** The next PDU that is no Asynchronous Message; null at the end of the connection. */
  async next(): Promise<Received | null> {
    for (;;) {
      const received = await this.wire.next();
      if (received?.opcode !== Opcode.ASYNC_MESSAGE) return received;
      const { asyncEvent, parameter3 } = decodeAsyncMessage(received.bhs);
      this.asked.push({ atMs: Date.now(), event: asyncEvent, parameter3 });
    }
  }

  async write(lba: number, fill: number): Promise<number> {
    const data = Buffer.alloc(BLOCK, fill);
    this.wire.command({ cdb: write10(lba, 1), write: true, data });
    const answer = await this.next();
    if (answer?.opcode !== Opcode.SCSI_RESPONSE) return -1;
    return decodeScsiResponse(answer.bhs).status;
  }

  async read(lba: number): Promise<Buffer> {
    this.wire.command({ cdb: read10(lba, 1), read: true, expectedBytes: BLOCK });
    return (await this.next())?.data ?? Buffer.alloc(0);
  }

  /** A write whose data is asked for and never sent; resolves with what a late Data-Out would carry. */
  async holdOpen(lba: number): Promise<{ tag: number; targetTransferTag: number }> {
    const tag = this.wire.command({ cdb: write10(lba, 1), write: true, expectedBytes: BLOCK });
    const asked = await this.next();
    if (asked?.opcode !== Opcode.R2T) throw new Error('no R2T came');
    return { tag, targetTransferTag: decodeR2t(asked.bhs).targetTransferTag };
  }

  logOut(): void {
    this.wire.logout();
  }
}

const portOf = (portal: string): number => Number(portal.slice(portal.lastIndexOf(':') + 1));

/** What this portal says to a login of the bad initiator: its status as class and detail. */
async function loginStatus(portal: string): Promise<number> {
  const wire = await TargetInitiator.connect(portOf(portal));
  const pairs = Object.entries({ InitiatorName: BAD, TargetName: IQN, SessionType: 'Normal' });
  const { pdu } = await wire.loginStep(pairs.map(([key, value]) => ({ key, value })));
  wire.close();
  return pdu.status;
}

/** A group with a loaded, well-behaved initiator on the same volume, judged at the end. */
class Scene {
  private at = 0;

  private constructor(
    private readonly t: Test,
    private readonly group: TestGroup,
  ) {}

  static async open(t: Test): Promise<Scene> {
    const group = await startGroup(t, { volumes: { disk: '32M' } });
    return new Scene(t, group);
  }

  /** The well-behaved one works on what lies beyond the first MiB, which is the bad one's. */
  async beside(body: () => Promise<void>): Promise<void> {
    const { t } = this;
    const initiator = await Initiator.connect(this.group.url('disk'));
    const ledger = new Ledger({ seed: 5, blockBytes: 4096, blocks: initiator.capacity.sizeBytes / 4096 });
    const range = { ledger, offsetBytes: MiB };
    await runFill(initiator, range);
    const stop = new AbortController();
    const load = { ...range, queueDepth: 8, opsPerSecondMax: BACKGROUND_OPS_PER_SECOND };
    const loading = runLoad(initiator, { ...load, durationSeconds: 120, signal: stop.signal });
    await body();
    stop.abort();
    const report = await loading;
    t.match(report, { errors: 0, wrongCount: 0, violations: [] }, 'the other initiator sees no error');
    t.ok(report.longestStallMs < DEADLINE_MS, `nor waits for the bad one: ${report.longestStallMs} ms`);
    t.match(await runVerify(initiator, range), { ok: true, wrongCount: 0 }, 'all its writes are there');
    await initiator.close();
  }

  portal(member = this.home): string {
    return this.group.ready.members.find(({ name }) => name === member)?.portal ?? '';
  }

  get groupPortal(): string {
    return this.group.ready.portal;
  }

  get home(): string {
    return `m${this.at + 1}`;
  }

  private async ended(move: MoveView): Promise<MoveView> {
    let now = move;
    await until(
      'the move ends',
      async () => (now = await this.group.client.move(move.id)).state !== 'active',
    );
    return now;
  }

  /** Moves the volume on; resolves when its home has moved, `moved` when the move has ended. */
  async moveOn(): Promise<{ old: string; moved: Promise<MoveView> }> {
    const old = this.home;
    this.at = (this.at + 1) % 3;
    const { home } = this;
    const { client } = this.group;
    const move = await client.createMove({ volume: 'disk', to: home });
    await until('the home has moved', async () => (await client.route('disk')).home === home);
    return { old, moved: this.ended(move) };
  }
}

t.test('it never logs out: served until the deadline, then dropped', { timeout: 240_000 }, async (t) => {
  const scene = await Scene.open(t);
  await scene.beside(async () => {
    const bad = await BadSession.open(scene.portal());
    t.equal(await bad.write(0, 1), 0);
    const { moved } = await scene.moveOn();
    const beganMs = Date.now();
    let served = 0;
    let last = 0;
    for (let fill = 2; (await bad.write(0, fill)) === 0; fill = (fill % 250) + 1) {
      last = fill;
      served += 1;
      await sleepMs(20);
    }
    const heldMs = Date.now() - beganMs;
    t.match(bad.asked, [
      { event: AsyncEvent.LOGOUT_REQUEST, parameter3: HANDOVER_DEADLINE_SECONDS },
      { event: AsyncEvent.CONNECTION_DROP },
    ]);
    const [first, second] = bad.asked.map(({ atMs }) => atMs);
    const givenMs = (second ?? 0) - (first ?? 0);
    t.ok(givenMs >= DEADLINE_MS - HEARD_LATE_MS, `it had ${givenMs} ms of the time it was promised`);
    t.ok(served > 10, `${served} writes were served after the home had moved`);
    t.ok(heldMs < DEADLINE_MS + SLACK_MS, `it was dropped after ${heldMs} ms`);
    t.match(await moved, { state: 'done', sessions: 2 }, 'the move ended');
    const back = await BadSession.open(scene.portal());
    const found = (await back.read(0))[0] ?? 0;
    // The last one may have been done and not answered.
    t.ok(found === last || found === last + 1, `what was acknowledged is there: ${found} of ${last}`);
    back.wire.close();
  });
});

t.test('it logs out late: answered, and the connection ends at once', { timeout: 240_000 }, async (t) => {
  const scene = await Scene.open(t);
  await scene.beside(async () => {
    const bad = await BadSession.open(scene.portal());
    const { moved } = await scene.moveOn();
    await sleepMs(DEADLINE_MS * 0.6);
    t.equal(await bad.write(1, 7), 0, 'served meanwhile');
    bad.logOut();
    t.equal((await bad.next())?.opcode, Opcode.LOGOUT_RESPONSE);
    t.equal(await bad.next(), null, 'then the FIN');
    t.equal(bad.asked.length, 1, 'no second message');
    t.match(await moved, { state: 'done', sessions: 2 });
    const back = await BadSession.open(scene.portal());
    t.equal((await back.read(1))[0], 7);
    back.wire.close();
  });
});

t.test('it comes back to the old member: redirected once, every time', { timeout: 240_000 }, async (t) => {
  const scene = await Scene.open(t);
  await scene.beside(async () => {
    const bad = await BadSession.open(scene.portal());
    const { old, moved } = await scene.moveOn();
    t.equal(await loginStatus(scene.portal(old)), MOVED, 'while its old session is still there');
    t.equal(await bad.write(2, 1), 0, 'which that login did not harm');
    bad.logOut();
    await bad.next();
    for (let i = 0; i < 3; i++) t.equal(await loginStatus(scene.portal(old)), MOVED);
    t.equal(await loginStatus(scene.groupPortal), MOVED, 'the group portal says the same');
    t.equal(await loginStatus(scene.portal()), 0, 'and the new home serves');
    await moved;
  });
});

t.test(
  'it logs in elsewhere without logging out: the old session is fenced first',
  { timeout: 240_000 },
  async (t) => {
    const scene = await Scene.open(t);
    await scene.beside(async () => {
      const bad = await BadSession.open(scene.portal(), { InitialR2T: 'Yes', ImmediateData: 'No' });
      const held = await bad.holdOpen(3);
      const { moved } = await scene.moveOn();
      // Another ISID, as libiscsi draws one at each reconnect.
      const back = await BadSession.open(scene.portal(), {}, '80000000beef');
      t.equal(await back.write(3, 9), 0, 'a newer write to the same block');
      bad.wire.dataOut({ ...held, data: Buffer.alloc(BLOCK, 0xee) }); // the older one goes on now
      t.equal(await bad.next(), null, 'the old session is closed, its last write unanswered');
      await sleepMs(200);
      t.equal((await back.read(3))[0], 9, 'and did not land over the newer one (I8)');
      t.match(await moved, { state: 'done', sessions: 2 });
      back.wire.close();
    });
  },
);

t.test(
  'it holds commands open: the move commits, the session goes at the deadline',
  { timeout: 240_000 },
  async (t) => {
    const scene = await Scene.open(t);
    await scene.beside(async () => {
      const bad = await BadSession.open(scene.portal(), { InitialR2T: 'Yes', ImmediateData: 'No' });
      const held = await bad.holdOpen(4);
      const { moved } = await scene.moveOn();
      const beganMs = Date.now();
      t.equal(await bad.next(), null, 'closed at the deadline');
      const tookMs = Date.now() - beganMs;
      t.ok(tookMs > DEADLINE_MS / 2 && tookMs < DEADLINE_MS + SLACK_MS, `after ${tookMs} ms`);
      t.equal(bad.asked.at(-1)?.event, AsyncEvent.CONNECTION_DROP, 'and told why');
      bad.wire.dataOut({ ...held, data: Buffer.alloc(BLOCK, 0xee) });
      t.match(await moved, { state: 'done', sessions: 2 });
      const back = await BadSession.open(scene.portal());
      t.not((await back.read(4))[0], 0xee, 'what came too late is not there');
      back.wire.close();
    });
  },
);
