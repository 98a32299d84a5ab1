/** What one link may be asked at once, by how long a chain of other requests each may wait for. */
import t from 'tap';
import { PEER_BYTES_MAX, PEER_REQUESTS_MAX } from '../../lib/base/limits.js';
import { PeerRequest, PeerStatus, PeerType } from '../../lib/peer/contract.js';
import type { Hub } from '../../lib/peer/hub.js';
import { RequestTable } from '../../lib/peer/request-table.js';
import { makeHub, write } from '../support/peer-rig.js';
import { until } from '../support/wait.js';

const MiB = 1024 * 1024;
const { COMMAND_WRITE, WRITE, MIRROR_WRITE } = PeerType;

class Asked extends PeerRequest {
  constructor(type: number, bytes: number) {
    super();
    this.type = type as PeerRequest['type'];
    this.payload = Buffer.alloc(bytes);
  }
  override answered(): void {
    throw new Error('nothing answers here');
  }
}

/** How many of that type and size it takes. */
function fill(table: RequestTable, type: number, bytes: number): number {
  let taken = 0;
  while (table.offer(new Asked(type, bytes), 1) >= 0) taken += 1;
  return taken;
}

t.test('commands for a home leave room for holder I/O, and both for mirrored writes', (t) => {
  const [half, quarter] = [PEER_BYTES_MAX / 2 / MiB, PEER_BYTES_MAX / 4 / MiB];
  const table = new RequestTable();
  t.equal(fill(table, COMMAND_WRITE, MiB), half);
  t.equal(fill(table, WRITE, MiB), quarter);
  t.equal(fill(table, MIRROR_WRITE, MiB), quarter);
  t.equal(table.queued, 3);
  const small = new RequestTable();
  t.equal(fill(small, COMMAND_WRITE, 512), PEER_REQUESTS_MAX / 2);
  t.equal(fill(small, WRITE, 512), PEER_REQUESTS_MAX / 4);
  t.equal(fill(small, MIRROR_WRITE, 512), PEER_REQUESTS_MAX / 4);
  const others = new RequestTable();
  t.equal(fill(others, WRITE, MiB), 3 * quarter, 'where there are no commands the room is theirs');
  t.end();
});

t.test('who waits is let go in order of arrival, as far as there is room for it', (t) => {
  const table = new RequestTable();
  const ids: number[] = [];
  for (let left = PEER_BYTES_MAX / 2 / MiB; left > 0; left--)
    ids.push(table.offer(new Asked(COMMAND_WRITE, MiB), 1));
  for (let left = PEER_BYTES_MAX / 4 / MiB; left > 0; left--) ids.push(table.offer(new Asked(WRITE, MiB), 1));
  const [command, held, later] = [COMMAND_WRITE, WRITE, COMMAND_WRITE].map((type) => new Asked(type, MiB));
  for (const waiting of [command, held, later]) t.equal(table.offer(waiting as Asked, 1), -1);
  t.equal(table.next(), -1);
  table.release(ids.at(-1) ?? -1); // a write's room, which is no command's
  t.equal(table.peek(table.next()), held);
  table.release(ids[0] ?? -1);
  t.equal(table.peek(table.next()), command);
  t.equal(table.next(), -1);
  const given: PeerRequest[] = [];
  table.clear(0, (request) => given.push(request));
  t.equal(given.length, ids.length + 1);
  t.equal(given.at(-1), later);
  t.equal(table.queued + table.outstanding, 0);
  t.equal(fill(table, COMMAND_WRITE, MiB), PEER_BYTES_MAX / 2 / MiB, 'as if it were new');
  t.end();
});

t.test(
  'commands that fill a link, and what they bring about, do not wait for each other in a circle',
  async (t) => {
    // a is a member with sessions, and the source of a move to b, which is home.
    const a: Hub = makeHub('a', (request) => {
      const mirrored = Object.assign(write(request.payload.length), { type: MIRROR_WRITE });
      void mirrored.through(a, 'b').then(() => request.answer(mirrored.status));
    });
    const b: Hub = makeHub('b', (request) => {
      if (request.type === MIRROR_WRITE) return request.answer(PeerStatus.OK);
      const held = write(request.payload.length);
      void held.through(b, 'a').then(() => request.answer(held.status));
    });
    t.teardown(() => Promise.all([a.close(), b.close()]));
    const [at, bt] = [await a.listen('127.0.0.1', 0), await b.listen('127.0.0.1', 0)];
    a.setAddress('b', bt);
    b.setAddress('a', at);
    const commands = Array.from({ length: 64 }, () => Object.assign(write(MiB / 2), { type: COMMAND_WRITE }));
    for (const command of commands) void command.through(a, 'b');
    await until('each has its answer', () => commands.every(({ answers }) => answers === 1), 10_000);
    t.ok(commands.every(({ status }) => status === PeerStatus.OK));
  },
);

t.test('small ones that come and come do not keep a large one waiting', (t) => {
  const table = new RequestTable();
  const sent: number[] = [];
  const more = (): void => {
    const id = table.offer(new Asked(MIRROR_WRITE, MiB / 16), 1);
    if (id >= 0) sent.push(id);
  };
  while (table.queued === 0) more();
  const large = new Asked(WRITE, MiB / 2);
  t.equal(table.offer(large, 1), -1);
  let answers = 0;
  for (let isSent = false; !isSent && answers < 1000; answers++) {
    table.release(sent.shift() ?? -1);
    for (let id = table.next(); id >= 0; id = table.next()) {
      if (table.peek(id) === large) isSent = true;
      else sent.push(id);
    }
    if (!isSent) more();
  }
  t.ok(answers < 20, `sent after ${answers} answers`);
  t.end();
});
