/** The management API end to end without a group: commands, client, HTTP server, and a desk that plays the group. */
import { request } from 'node:http';
import t from 'tap';
import { BlockferryError } from '../../lib/base/errors.js';
import { silentLog } from '../../lib/base/log.js';
import type {
  CreateMove,
  CreateVolume,
  MemberView,
  MoveView,
  RouteView,
  VolumeView,
} from '../../lib/manage/api.js';
import { ManageClient } from '../../lib/manage/client.js';
import type { ManageDesk } from '../../lib/manage/desk.js';
import { planDrain } from '../../lib/manage/drain-plan.js';
import { ManageServer } from '../../lib/manage/server.js';
import { FakeDoor, run } from '../support/cli-door.js';

const MEMBERS: MemberView[] = ['m1', 'm2', 'm3'].map((name, i) => ({
  name,
  portal: `127.0.0.1:${3261 + i}`,
  peer: `127.0.0.1:${4261 + i}`,
  pid: 100 + i,
  startedAtMs: 1,
  alive: true,
  access: 'redirect',
}));

function volumeView(name: string, home: string, holders: Record<string, number>): VolumeView {
  return {
    name,
    iqn: `iqn.2026-11.org.blockferry:${name}`,
    size: 64 * 1024 ** 2,
    blockSize: 512,
    extentSize: 4 * 1024 ** 2,
    extents: 16,
    home,
    epoch: 1,
    holders,
    removable: false,
    readOnly: false,
    serial: '0123456789abcdef',
    vendor: 'BLKFERRY',
    product: 'VOLUME',
    naa: '3123456789abcdef',
    url: `iscsi://127.0.0.1:3260/iqn.2026-11.org.blockferry:${name}/0`,
    moving: null,
  };
}

/** Plays a group: a move is done after it was looked at three times. */
class PlayedDesk implements ManageDesk {
  readonly held: VolumeView[] = [volumeView('disk', 'm1', { m1: 16 })];
  readonly asked: (CreateMove | CreateVolume)[] = [];
  looks = 0;
  ending: MoveView['state'] = 'done';

  async status() {
    return {
      group: 'g',
      portal: '127.0.0.1:3260',
      manage: 'http://x',
      members: MEMBERS,
      volumes: this.held,
      moves: [],
    };
  }
  async members() {
    return MEMBERS;
  }
  async volumes() {
    return this.held;
  }
  async volume(name: string) {
    const found = this.held.find((volume) => volume.name === name);
    if (found === undefined)
      throw new BlockferryError('NOT_FOUND', `there is no volume ${name}`, 'see volume list');
    return found;
  }
  async createVolume(wanted: CreateVolume) {
    if (this.held.some((volume) => volume.name === wanted.name)) {
      throw new BlockferryError('EXISTS', `there is a volume ${wanted.name} already`);
    }
    this.asked.push(wanted);
    const made = volumeView(wanted.name, wanted.home ?? 'm2', {});
    this.held.push(made);
    return made;
  }
  async deleteVolume(name: string) {
    this.held.splice(this.held.indexOf(await this.volume(name)), 1);
  }
  async route(volume: string): Promise<RouteView> {
    return { volume, epoch: 3, home: 'm1', extents: 16, runs: [{ first: 0, last: 15, holder: 'm1' }] };
  }
  async sessions() {
    return { sessions: [], silent: ['m3'] };
  }
  async moves() {
    return [this.view('active')];
  }
  async move(id: string) {
    if (id !== 'move-1') throw new BlockferryError('NOT_FOUND', `there is no move ${id}`);
    this.looks += 1;
    return this.view(this.looks < 3 ? 'active' : this.ending);
  }
  async createMove(wanted: CreateMove) {
    this.asked.push(wanted);
    this.looks = 0;
    return this.view('active');
  }
  async cancelMove() {
    return this.view('cancelled');
  }
  private view(state: MoveView['state']): MoveView {
    return {
      id: 'move-1',
      volume: 'disk',
      from: 'm1',
      to: 'm2',
      range: null,
      state,
      error: state === 'failed' ? 'the disk of m2 is full' : '',
      createdAtMs: 1000,
      finishedAtMs: state === 'active' ? null : 3500,
      extents: 16,
      extentsDone: state === 'done' ? 16 : 4,
      bytesCopied: 64 * 1024 ** 2,
      bytesRecopied: 4096,
      restarts: 1,
      sessions: 2,
      stallMsMax: 12.5,
      lastError: '',
    };
  }
}

const desk = new PlayedDesk();
const server = await ManageServer.start({ host: '127.0.0.1', port: 0, desk, log: silentLog });
const manage = (...args: string[]): string[] => [...args, '--manage', server.url];

t.test('volumes', async (t) => {
  const made = await run(manage('volume', 'create', 'data', '--size', '64M', '--home', 'm3', '--json'));
  t.equal(made.code, 0, made.stderr);
  t.match(JSON.parse(made.stdout), { name: 'data', home: 'm3' });
  t.match(desk.asked.at(-1), { name: 'data', size: 64 * 1024 ** 2, home: 'm3' });
  const again = await run(manage('volume', 'create', 'data', '--size', '64M'));
  t.equal(again.code, 1);
  t.equal(again.stderr, 'blockferry: there is a volume data already\n');
  t.match((await run(manage('volume', 'list'))).stdout, /^VOLUME +SIZE[\s\S]*^data +64M +disk +m3/m);
  t.match((await run(manage('volume', 'show', 'disk'))).stdout, /held by +m1 16/);
  const gone = await run(manage('volume', 'show', 'nothing'));
  t.equal(gone.code, 1);
  t.equal(gone.stderr, 'blockferry: there is no volume nothing; see volume list\n');
  t.equal((await run(manage('volume', 'delete', 'data'))).code, 0);
});

t.test('kinds of volume', async (t) => {
  const kind = ['--block-size', '4096', '--removable', '--read-only', '--serial', 'S 1', '--vendor', 'ACME'];
  const made = await run(manage('volume', 'create', 'odd', '--size', '64M', ...kind, '--product', 'Floppy'));
  t.equal(made.code, 0, made.stderr);
  t.match(desk.asked.at(-1), { blockSize: 4096, removable: true, readOnly: true, serial: 'S 1' });
  t.match(desk.asked.at(-1), { vendor: 'ACME', product: 'Floppy' });
  const [odd] = desk.held.splice(-1, 1, {
    ...volumeView('odd', 'm2', {}),
    ...{ blockSize: 4096, removable: true, readOnly: true, vendor: 'ACME', product: 'Floppy' },
  });
  t.ok(odd);
  t.match((await run(manage('volume', 'list'))).stdout, /^odd +64M +4K blocks, removable, read-only +m2/m);
  t.match((await run(manage('volume', 'list'))).stdout, /^disk +64M +disk +m1/m);
  t.match((await run(manage('volume', 'show', 'odd'))).stdout, /vendor, product +ACME, Floppy/);
  t.equal((await run(manage('volume', 'delete', 'odd'))).code, 0);
});

t.test('a move is followed to its end, and reported as scripts expect', async (t) => {
  desk.ending = 'done';
  const moved = await run(manage('move', 'disk', '--to', 'm2', '--extents', '0-7', '--rate', '1M', '--json'));
  t.equal(moved.code, 0, moved.stderr);
  t.strictSame(JSON.parse(moved.stdout), {
    volume: 'disk',
    from: 'm1',
    to: 'm2',
    extents: 16,
    bytesCopied: 64 * 1024 ** 2,
    bytesRecopied: 4096,
    restarts: 1,
    seconds: 2.5,
    sessions: 2,
    stallMs: { max: 12.5 },
  });
  t.match(desk.asked.at(-1), { extents: { first: 0, last: 7 }, rate: 1024 ** 2, handover: 'ask' });
  t.match(
    (await run(manage('move', 'disk', '--to', 'm2'))).stdout,
    /moved from m1 to m2 in 2.50 s: 16 extents/,
  );

  desk.ending = 'failed';
  const failed = await run(manage('move', 'disk', '--to', 'm2', '--json'));
  t.equal(failed.code, 1);
  t.equal(failed.stdout, '');
  t.equal(failed.stderr, 'blockferry: the move of disk to m2 failed: the disk of m2 is full\n');

  const left = await run(manage('move', 'disk', '--to', 'm2', '--no-wait'));
  t.equal(left.code, 0);
  t.equal(desk.looks, 0, '--no-wait does not look');
});

t.test('Ctrl-C leaves the move alone and says how to look', async (t) => {
  const door = new FakeDoor();
  const running = run(manage('move', 'disk', '--to', 'm2'), door);
  while (desk.looks < 1) await new Promise((resolve) => setTimeout(resolve, 5));
  door.signal('SIGINT');
  const { code, stderr } = await running;
  t.equal(code, 1);
  t.match(stderr, /goes on; look with 'blockferry moves', stop it with 'blockferry moves --cancel move-1'/);
});

t.test('the other commands', async (t) => {
  t.match((await run(manage('status'))).stdout, /^group g at 127\.0\.0\.1:3260[\s\S]*^m3 +127[\s\S]*^disk /m);
  t.match(JSON.parse((await run(manage('status', '--json'))).stdout), {
    group: 'g',
    volumes: [{ name: 'disk' }],
  });
  t.equal((await run(manage('sessions'))).stdout, 'no sessions\nno answer from m3\n');
  t.match((await run(manage('route', 'disk'))).stdout, /home m1, epoch 3\n[\s\S]*0-15 +16 +m1/);
  t.match((await run(manage('moves'))).stdout, /move-1 +disk +m1 +m2 +active +4\/16/);
  t.match((await run(manage('moves', '--cancel', 'move-1'))).stdout, /cancelled/);
  desk.ending = 'done';
  t.match((await run(manage('drain', 'm1'))).stdout, /m1 is empty: 1 move/);
  t.match((await run(manage('drain', 'm9'))).stderr, /there is no member m9; the group has m1, m2, m3/);
});

t.test('the door of the API', async (t) => {
  const call = (init: { method?: string; path: string; headers?: Record<string, string>; body?: string }) =>
    new Promise<{ status: number; body: string }>((resolve, reject) => {
      const { port } = new URL(server.url);
      const sent = request({
        host: '127.0.0.1',
        port,
        method: init.method ?? 'GET',
        path: init.path,
        headers: init.headers,
      });
      sent.on('error', reject);
      sent.on('response', (response) => {
        let body = '';
        response.on('data', (chunk: Buffer) => (body += chunk.toString()));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      });
      sent.end(init.body);
    });
  const json = { 'content-type': 'application/json' };

  t.equal((await call({ path: '/v1/status', headers: { host: 'localhost:1' } })).status, 200);
  const rebound = await call({ path: '/v1/status', headers: { host: 'evil.example:3280' } });
  t.equal(rebound.status, 400, 'a foreign Host is refused');
  t.match(rebound.body, /"code":"INVALID"/);
  t.equal(
    (await call({ path: '/v1/status', headers: { origin: 'http://evil.example' } })).status,
    400,
    'so is a page',
  );
  t.equal((await call({ path: '/v1/nothing' })).status, 404);
  const bad: readonly string[] = [
    '{',
    '[]',
    '{"name":"UP","size":1}',
    '{"name":"a","size":-1}',
    '{"name":"a","size":1,"x":1}',
  ];
  for (const body of bad) {
    const answer = await call({ method: 'POST', path: '/v1/volumes', headers: json, body });
    t.equal(answer.status, 400, `${body} is refused`);
    t.ok((JSON.parse(answer.body) as { error: { message: string } }).error.message, 'with a message');
  }
  const large = await call({
    method: 'POST',
    path: '/v1/volumes',
    headers: json,
    body: `"${'x'.repeat(70_000)}"`,
  });
  t.equal(large.status, 413, 'a large body');
  const form = { 'content-type': 'text/plain' };
  t.equal(
    (await call({ method: 'POST', path: '/v1/moves', headers: form, body: '{}' })).status,
    415,
    'a form',
  );
  await t.rejects(
    ManageServer.start({ host: '127.0.0.1', port: Number(new URL(server.url).port), desk, log: silentLog }),
    { code: 'BUSY' },
    'a port in use',
  );
});

t.test('an answer that is not ours is not believed', async (t) => {
  const { createServer } = await import('node:http');
  const impostor = createServer((_, response) => response.end('{"hello":1}'));
  await new Promise<void>((resolve) => impostor.listen(0, '127.0.0.1', resolve));
  t.teardown(() => impostor.close());
  const { port } = impostor.address() as { port: number };
  await t.rejects(new ManageClient(`http://127.0.0.1:${port}`).status(), { code: 'PROTOCOL' });
});

t.test('what a drain moves where', async (t) => {
  const volumes = [
    volumeView('home-here', 'm1', { m1: 10, m2: 6 }),
    volumeView('part-here', 'm2', { m1: 4, m2: 12 }),
    volumeView('elsewhere', 'm3', { m3: 16 }),
    volumeView('another-here', 'm1', { m1: 16 }),
  ];
  const part: RouteView = {
    volume: 'part-here',
    epoch: 1,
    home: 'm2',
    extents: 16,
    runs: [
      { first: 0, last: 3, holder: 'm2' },
      { first: 4, last: 7, holder: 'm1' },
      { first: 8, last: 15, holder: 'm2' },
    ],
  };
  t.strictSame(planDrain('m1', MEMBERS, volumes, new Map([['part-here', part]])), [
    { volume: 'home-here', to: 'm3', extents: null },
    { volume: 'part-here', to: 'm2', extents: { first: 4, last: 7 } },
    { volume: 'another-here', to: 'm2', extents: null },
  ]);
  const alone = MEMBERS.map((member) => ({ ...member, alive: member.name === 'm1' }));
  t.throws(() => planDrain('m1', alone, volumes, new Map()), { code: 'UNAVAILABLE' });
});

t.test('the server stops', () => server.stop());
