/** Load vectors between members: the board, who is told what, a thousand members, the messages, and the view of it. */
import t from 'tap';
import { SeededRandom, randomBelow } from '../../lib/base/random.js';
import { excerptOf, LoadBoard, type Entry } from '../../lib/load/board.js';
import { chooseListeners, chooseNews, fitting } from '../../lib/load/gossip.js';
import type { DatedVector, LoadVector } from '../../lib/load/vector.js';
import { fullestBoard } from '../../lib/manage/fullest-board.js';
import { loadsView } from '../../lib/manage/loads-view.js';
import { LoadExchange } from '../../lib/member/load-exchange.js';
import { PeerStatus, PeerType, type IncomingRequest, type PeerRequest } from '../../lib/peer/contract.js';
import { SteppedClock } from '../support/hand-clock.js';
import { vectorOf } from '../support/load.js';

const STALE_MS = 3_000;

function boardOf(clock: SteppedClock, processes: ReadonlyMap<string, string>, staleMs = STALE_MS): LoadBoard {
  return new LoadBoard({ clock, processOf: (member) => processes.get(member), staleMs: () => staleMs });
}

function processesOf(...members: string[]): Map<string, string> {
  return new Map(members.map((member) => [member, `${member}-1`]));
}

t.test('the board: the newest wins, age is told, what left is forgotten', async (t) => {
  const clock = new SteppedClock();
  const processes = processesOf('m1', 'm2');
  const board = boardOf(clock, processes);
  t.ok(board.learn(vectorOf('m2', { sequence: 5 }), 400, 'm2'));
  t.notOk(board.learn(vectorOf('m2', { sequence: 5 }), 0, 'm3'), 'the same again is no news');
  t.notOk(board.learn(vectorOf('m2', { sequence: 4 }), 0, 'm3'), 'nor is an older one');
  t.notOk(board.learn(vectorOf('m9'), 0, 'm9'), 'of nobody in the group');
  clock.pass(600);
  t.match(board.all(), [{ ageMs: 1_000, isFresh: true }]);
  clock.pass(2_001);
  t.match(board.all(), [{ vector: { member: 'm2', sequence: 5 }, ageMs: 3_001, isFresh: false }], 'stale');
  processes.set('m2', 'another');
  t.notOk(board.learn(vectorOf('m2', { sequence: 6 }), 0, 'm3'), 'of a process that is gone');
  t.ok(board.learn(vectorOf('m2', { incarnation: 'another' }), 0, 'm2'), 'the new process begins anew');
  t.match(board.all(), [{ vector: { sequence: 1 }, isFresh: true }]);
  processes.delete('m2');
  t.strictSame(board.all(), []);
});

t.test('a board is bounded by the members of the group, an excerpt by its bytes', async (t) => {
  const names = Array.from({ length: 1_100 }, (_, i) => `m${i}`);
  const board = boardOf(new SteppedClock(), processesOf(...names));
  for (const name of names) board.learn(vectorOf(name), 0, 'm0');
  t.equal(board.all().length, 1_024);

  const busy = boardOf(new SteppedClock(), processesOf(...names));
  const pattern = {
    kind: 'mixed',
    readShare: 0.5,
    requestBytes: 1,
    sequentialShare: 0,
    burstiness: 0,
    initiators: 1,
  };
  const rates = {
    readsPerSecond: 1,
    writesPerSecond: 1,
    readBytesPerSecond: 1,
    writeBytesPerSecond: 1,
    serviceMs: 1,
  };
  const volumes = Array.from({ length: 200 }, (_, i) => ({ volume: `v${i}`, ...rates, pattern, hot: [] }));
  for (const name of names.slice(0, 32))
    busy.learn(vectorOf(name, { volumes } as Partial<LoadVector>), 0, 'm0');
  const excerpt = excerptOf(busy.all(), 1_000_000);
  t.ok(JSON.stringify(busy.all()).length > 1_000_000);
  t.ok(JSON.stringify(excerpt).length <= 1_000_000);
  t.equal(excerpt.length, 32, 'of every member something');
  t.match(excerpt[31]?.vector.volumes[0], { volume: 'v0' }, 'the busiest');
});

t.test('up to 32 members everybody tells everybody of himself; beyond, a few by chance', async (t) => {
  const random = new SeededRandom(1);
  const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `m${i}`);
  t.strictSame(chooseListeners(names(31), random), names(31));
  t.strictSame(chooseListeners([], random), []);
  const heard = new Set<string>();
  for (let i = 0; i < 200; i++) {
    const chosen = chooseListeners(names(32), random);
    t.equal(new Set(chosen).size, 8, 'eight different ones');
    for (const name of chosen) heard.add(name);
  }
  t.equal(heard.size, 32, 'nobody is left out for ever');

  const entry = (member: string, measuredMs: number, learntMs: number): Entry => ({
    ...{ vector: vectorOf(member), measuredMs, learntMs, from: 'm1' },
  });
  const entries = [entry('m0', 100, 100), entry('m1', 40, 60), entry('m2', 90, 95), entry('m3', 10, 20)];
  const told = (members: number): string[] =>
    chooseNews(entries, 'm0', members, 50).map(({ vector }) => vector.member);
  t.strictSame(told(32), ['m0']);
  t.strictSame(told(33), ['m0', 'm2', 'm1'], 'in a large group the news as well, the youngest first');
  t.strictSame(
    fitting([5, 5, 5], 11, (n) => n),
    [5, 5],
  );
  t.strictSame(
    fitting([5, 5], 10, (n) => n),
    [5, 5],
  );
});

/** @returns the share of (member, vector) pairs that are no older than so many windows, and the largest message */
function gossip(members: number, windows: number, vectorBytes: number, bytesMax: number) {
  const windowMs = 1_000;
  const clock = new SteppedClock();
  const random = new SeededRandom(11);
  const names = Array.from({ length: members }, (_, i) => `m${i}`);
  const processes = processesOf(...names);
  const boards = new Map(names.map((name) => [name, boardOf(clock, processes)]));
  const toldMs = new Map<string, number>();
  let largest = 0;
  for (let window = 1; window <= windows; window++) {
    for (const name of names) {
      clock.pass(windowMs / members);
      const board = boards.get(name) as LoadBoard;
      board.learn({ ...blank, member: name, incarnation: `${name}-1`, sequence: window }, 0, name);
      const news = chooseNews(board.entries(), name, members, toldMs.get(name) ?? 0);
      const told = fitting(news, bytesMax, () => vectorBytes);
      toldMs.set(name, clock.nowMs());
      largest = Math.max(largest, told.length * vectorBytes);
      const others = names.filter((other) => other !== name);
      for (const listener of chooseListeners(others, random)) {
        if (randomBelow(random, 100) === 0) continue; // one in a hundred is lost
        const heard = boards.get(listener) as LoadBoard;
        for (const { vector, measuredMs } of told) heard.learn(vector, clock.nowMs() - measuredMs, name);
      }
    }
  }
  const ages = [...boards.values()].flatMap((board) => board.all().map(({ ageMs }) => ageMs / windowMs));
  const youngerThan = (age: number): number => ages.filter((a) => a <= age).length / members ** 2;
  return { youngerThan, largest };
}

const blank = vectorOf('blank');

t.test('a thousand members know each other, within the bytes of their messages', async (t) => {
  const bytesMax = 960 * 1024; // a message has not room for half of the vectors
  const { youngerThan, largest } = gossip(1_000, 5, 2_400, bytesMax);
  const shares = [2, 3, 4].map((age) => `${age}: ${(youngerThan(age) * 100).toFixed(2)} %`);
  t.comment(`messages up to ${largest} bytes; no older than windows: ${shares.join(', ')}`);
  t.ok(youngerThan(4) > 0.99, '99 % are no older than four windows');
  t.ok(largest > bytesMax / 2 && largest <= bytesMax);
});

class Wire {
  readonly sent: { to: string; request: PeerRequest }[] = [];
  readonly hub = { send: (to: string, request: PeerRequest) => void this.sent.push({ to, request }) };
}

function exchangeOf(self: string, others: string[], clock = new SteppedClock()) {
  const wire = new Wire();
  const board = boardOf(clock, processesOf(self, ...others));
  const exchange = new LoadExchange({
    ...{ self, board, hub: wire.hub, clock, random: new SeededRandom(1) },
    others: () => others,
    roundTripMs: () => 10,
  });
  return { wire, board, exchange, clock };
}

function incoming(from: string, payload: Buffer) {
  const answers: number[] = [];
  const request = { from, payload, type: PeerType.LOAD, answer: (status: number) => answers.push(status) };
  return { request: request as unknown as IncomingRequest, answers };
}

t.test('told at the end of a window, once at a time, and dated with the way it took', async (t) => {
  const m1 = exchangeOf('m1', ['m2', 'm3']);
  const m2 = exchangeOf('m2', ['m1', 'm3']);
  m1.exchange.finished(vectorOf('m1'));
  t.strictSame(
    m1.wire.sent.map(({ to }) => to),
    ['m2', 'm3'],
  );
  t.match(m1.board.all(), [{ vector: { member: 'm1' }, ageMs: 0 }], 'and on its own board');
  const [first] = m1.wire.sent;
  const { request, answers } = incoming('m1', first?.request.payload as Buffer);
  t.equal(first?.request.type, PeerType.LOAD);
  m2.exchange.serve(request);
  t.strictSame(answers, [PeerStatus.OK]);
  t.match(m2.board.all(), [{ vector: { member: 'm1' }, ageMs: 5 }], 'half a round trip');

  m1.exchange.finished(vectorOf('m1', { sequence: 2 }));
  t.equal(m1.wire.sent.length, 2, 'one message to a member at a time');
  first?.request.answered(PeerStatus.LINK_LOST, Buffer.alloc(0), 0);
  m1.exchange.finished(vectorOf('m1', { sequence: 3 }));
  t.strictSame(
    m1.wire.sent.slice(2).map(({ to }) => to),
    ['m2'],
    'who has answered, or was lost, is told again',
  );
});

t.test('what is malformed is refused, what is out of place is not believed', async (t) => {
  const { exchange, board } = exchangeOf('m1', ['m2']);
  const vector = vectorOf('m2');
  const bad: unknown[] = [
    {},
    { loads: [{ vector, ageMs: -1 }] },
    { loads: [{ vector }] },
    { loads: [{ vector: { ...vector, member: 'NOT A NAME' }, ageMs: 0 }] },
    { loads: [{ vector: { ...vector, storage: { ...vector.storage, queueDepth: -1 } }, ageMs: 0 }] },
    { loads: [{ vector: { ...vector, volumes: Array.from({ length: 513 }, () => ({})) }, ageMs: 0 }] },
    { loads: Array.from({ length: 1_025 }, () => ({ vector, ageMs: 0 })) },
  ];
  for (const message of bad) {
    const { request } = incoming('m2', Buffer.from(JSON.stringify(message)));
    t.throws(() => exchange.serve(request), JSON.stringify(message).slice(0, 60));
  }
  t.throws(() => exchange.serve(incoming('m2', Buffer.from('{"loads":')).request), 'not JSON');
  t.strictSame(board.all(), []);
  const lies = {
    loads: [vectorOf('m1', { sequence: 99 }), vectorOf('m7')].map((v) => ({ vector: v, ageMs: 0 })),
  };
  const { request, answers } = incoming('m2', Buffer.from(JSON.stringify(lies)));
  exchange.serve(request);
  t.strictSame([answers, board.all()], [[PeerStatus.OK], []], 'of itself, and of who is not in the group');
});

t.test('what people look at', async (t) => {
  const storage = (readsPerSecond: number) => ({ ...vectorOf('m').storage, readsPerSecond });
  const dated = (member: string, rate: number, isFresh = true) => ({
    ...{ vector: vectorOf(member, { storage: storage(rate) }), ageMs: 10, isFresh },
  });
  const view = loadsView(
    'm1',
    ['m1', 'm2', 'm3', 'm4'],
    [dated('m1', 300), dated('m2', 100), dated('m3', 900, false)],
    () => 1,
  );
  t.match(view, {
    from: 'm1',
    members: [
      { name: 'm1', share: 0.75, overFair: 1.5, stale: false },
      { name: 'm2', share: 0.25, overFair: 0.5, stale: false },
      { name: 'm3', share: null, overFair: null, stale: true },
      { name: 'm4', vector: null, ageMs: null, stale: true },
    ],
  });
  t.match(
    loadsView('m1', ['m1'], [dated('m1', 0)], () => 1).members,
    [{ share: 0, overFair: 0 }],
    'nobody asks for anything',
  );
  t.match(
    loadsView('m1', ['m1', 'm2'], [dated('m1', 300), dated('m2', 100)], (name) => (name === 'm1' ? 3 : 1))
      .members,
    [{ overFair: 1 }, { overFair: 1 }],
    'three times as much is fair for who weighs three times as much',
  );
});

t.test('the loads of a group: nobody waits for who is silent, and who knows most is believed', async (t) => {
  const clock = new SteppedClock();
  const boardOfFirst = (known: number): DatedVector[] =>
    ['m1', 'm2', 'm3'].slice(0, known).map((name) => ({ vector: vectorOf(name), ageMs: 1, isFresh: true }));
  let asked: string[] = [];
  /** @param known of how many members each knows; null: it never answers; 0: it is given up */
  const ask = async (known: Readonly<Record<string, number | null>>) => {
    asked = [];
    let isOver = false;
    const board = fullestBoard(Object.keys(known), clock, (member) => {
      asked.push(member);
      const count = known[member] ?? null;
      if (count === null) return new Promise(() => undefined);
      return Promise.resolve(count === 0 ? undefined : boardOfFirst(count));
    }).finally(() => (isOver = true));
    for (let turn = 0; !isOver; turn++) {
      if (turn === 200) throw new Error('it waits for who is silent');
      await new Promise(setImmediate);
      clock.pass(50);
    }
    return board;
  };
  t.match(await ask({ m1: 3, m2: 3, m3: 3 }), { from: 'm1' });
  t.strictSame(asked, ['m1'], 'who knows all is enough');
  t.match(await ask({ m1: null, m2: 2, m3: 3 }), { from: 'm3', vectors: { length: 3 } });
  t.match(await ask({ m1: null, m2: null, m3: 3 }), { from: 'm3' });
  t.match(await ask({ m1: 1, m2: 2, m3: 2 }), { from: 'm2' });
  t.match(await ask({ m1: 0, m2: 0, m3: 0 }), { from: null, vectors: [] });
  t.strictSame(await ask({}), { from: null, vectors: [] });
});
