/**
 * Processes that are killed: a member idle and under load, source and destination in the middle of a move, and the whole
 * group. Volumes, bytes and identities are the same afterwards, moves finish, initiators go on (I1).
 */
import t, { type Test } from 'tap';
import { Initiator, Ledger, runFill, runLoad, runVerify } from '../../lib/iscsi/initiator/index.js';
import type { MoveView } from '../../lib/manage/api.js';
import { BACKGROUND_OPS_PER_SECOND, kill, pidOf, startGroup, type TestGroup } from '../support/group.js';
import { sleepMs, until } from '../support/wait.js';

/** Nothing that a person would wait for: a move that has not ended by then does not end. */
const MOVES_END_MS = 100_000;

async function waitForMoves(group: TestGroup): Promise<MoveView[]> {
  let moves: MoveView[] = [];
  const haveEnded = async (): Promise<boolean> =>
    (moves = await group.client.moves()).every((move) => move.state !== 'active');
  await until('the moves end', haveEnded, MOVES_END_MS);
  return moves;
}

async function filled(t: Test, group: TestGroup): Promise<{ initiator: Initiator; ledger: Ledger }> {
  const initiator = await Initiator.connect(group.url('disk'));
  t.teardown(() => initiator.close());
  const ledger = new Ledger({ seed: 3, blockBytes: 4096, blocks: initiator.capacity.sizeBytes / 4096 });
  t.ok((await runFill(initiator, { ledger })).ok, 'filled');
  return { initiator, ledger };
}

for (const victim of ['m1', 'm2'] as const) {
  const role = victim === 'm1' ? 'source and home' : 'destination';
  t.test(`the ${role} dies twice in the middle of a move under load`, { timeout: 240_000 }, async (t) => {
    const group = await startGroup(t, { volumes: { disk: '192M' } });
    const { initiator, ledger } = await filled(t, group);
    const stop = new AbortController();
    const load = { ledger, queueDepth: 16, opsPerSecondMax: BACKGROUND_OPS_PER_SECOND };
    const loading = runLoad(initiator, { ...load, durationSeconds: 60, signal: stop.signal });
    t.equal((await group.cli('move', 'disk', '--to', 'm2', '--rate', '64M', '--no-wait')).code, 0);
    for (let i = 0; i < 2; i++) {
      await sleepMs(700);
      await kill(group, victim);
    }
    const moves = await waitForMoves(group);
    t.match(moves, [{ state: 'done', to: 'm2' }], 'the move finished');
    stop.abort();
    const report = await loading;
    t.match(report, { errors: 0, wrongCount: 0 }, `initiators went on: ${report.errorTexts.join('; ')}`);
    t.comment(
      `${report.ops} operations, ${report.recoveries.length} recoveries, stalled ${report.longestStallMs} ms`,
    );
    t.match(
      await runVerify(initiator, { ledger }),
      { ok: true, wrongCount: 0 },
      'no acknowledged write is lost',
    );
    const route = await group.json<{ home: string; runs: { holder: string }[] }>('route', 'disk');
    t.match(route, { home: 'm2', runs: [{ holder: 'm2' }] });
  });
}

t.test('an idle member that dies is started again', { timeout: 240_000 }, async (t) => {
  const group = await startGroup(t, { volumes: { disk: '32M' } });
  const { initiator, ledger } = await filled(t, group);
  const before = await pidOf(group, 'm1');
  await kill(group, 'm1');
  t.match(
    await runVerify(initiator, { ledger }),
    { ok: true },
    'the initiator sees a pause and nothing else',
  );
  t.not(await pidOf(group, 'm1'), before);
});

for (const how of ['SIGTERM', 'kill -9 of everything'] as const) {
  t.test(
    `${how}: the same volumes, bytes and identities after a restart`,
    { timeout: 240_000 },
    async (t) => {
      const first = await startGroup(t, { volumes: { disk: '64M', other: '16M' } });
      const { initiator, ledger } = await filled(t, first);
      t.equal((await first.cli('move', 'disk', '--to', 'm3', '--extents', '0-4')).code, 0);
      t.match(await runLoad(initiator, { ledger, durationSeconds: 1 }), { ok: true });
      await initiator.flush();
      const before = await first.json<object>('volume', 'show', 'disk');
      t.equal(
        (await first.cli('move', 'disk', '--to', 'm2', '--rate', '8M', '--no-wait')).code,
        0,
        'a move is under way',
      );
      await sleepMs(500);
      if (how === 'SIGTERM') t.equal((await first.stop()).code, 0, 'it stops in order');
      else await first.kill();
      await initiator.close();
      const second = await startGroup(t, { dataFolder: first.dataFolder });
      t.same(second.ready.volumes.map((volume) => volume.name).sort(), ['disk', 'other']);
      const after = await second.json<object>('volume', 'show', 'disk');
      for (const field of ['name', 'iqn', 'size', 'serial', 'naa'] as const) {
        t.equal((after as Record<string, unknown>)[field], (before as Record<string, unknown>)[field], field);
      }
      const again = await Initiator.connect(second.url('disk'));
      t.teardown(() => again.close());
      t.match(
        await runVerify(again, { ledger }),
        { ok: true, wrongCount: 0 },
        'every flushed write is there',
      );
      t.match(
        await waitForMoves(second),
        [{ state: 'done' }, { state: 'done' }],
        'the move that was under way finished',
      );
      t.match(await runVerify(again, { ledger }), { ok: true, wrongCount: 0 });
    },
  );
}
