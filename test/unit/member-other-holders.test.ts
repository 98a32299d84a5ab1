/** What a home expects of the other holders of a volume, as its route changes. */
import t from 'tap';
import { HoldersHome as Home } from '../support/holders-home.js';

t.test('what went through this home', async (t) => {
  const home = new Home('m1', 'm1', 'm2', 'm3');
  await home.forward('write', 'm2');
  home.losesPower('m2');
  home.losesPower('m3');
  await home.forward('flush', 'm3');
  t.equal(home.others.losses, 0, 'nothing was written there');
  await home.forward('flush', 'm2');
  t.equal(home.others.losses, 1);
});

t.test('what an initiator may bring', async (t) => {
  const home = new Home('m1', 'm1', 'm2');
  home.others.admit();
  home.losesPower('m2');
  await home.forward('flush', 'm2');
  t.equal(home.others.losses, 1);
});

t.test('who comes when all are back brings nothing, and has lost nothing', async (t) => {
  const home = new Home('m1', 'm1', 'm2');
  home.clock.pass(60_000);
  t.equal(home.others.admit(), 0);
  home.losesPower('m2');
  await home.forward('flush', 'm2');
  t.equal(home.others.losses, 0);
  await home.forward('write', 'm2');
  home.losesPower('m2');
  t.equal(home.others.admit(), 1, 'it was lost before');
});

t.test('who follows the home may have lost what is found before he is there', async (t) => {
  const home = new Home('m2', 'm1', 'm2', 'm3');
  home.losesPower('m3');
  home.comes({ m3: 'm3 0' }, 'm1', 'm2', 'm3');
  t.equal(home.others.admit(), 0);
  await home.forward('flush', 'm3');
  t.equal(home.others.losses, 1);
  t.equal(home.others.admit(), 0);
});

t.test('who becomes a holder has nothing that is not durable', async (t) => {
  const home = new Home('m1', 'm1', 'm2');
  home.others.admit();
  home.adopt('m1', 'm2', 'm3');
  home.losesPower('m3');
  await home.forward('flush', 'm3');
  t.equal(home.others.losses, 0);
});

t.test('who ceases to be one', async (t) => {
  const home = new Home('m1', 'm1', 'm2', 'm3');
  await home.forward('write', 'm2');
  await home.forward('write', 'm3');
  home.losesPower('m3');
  home.adopt('m1', 'm1');
  t.equal(home.others.losses, 1, 'm3 lost its writes before');
  home.losesPower('m2');
  home.adopt('m1', 'm1', 'm2');
  await home.forward('flush', 'm2');
  t.equal(home.others.losses, 1, 'those of m2 are durable where they went');
});

t.test('a member that is not home expects nothing', async (t) => {
  const home = new Home('m2', 'm2');
  home.others.admit();
  home.losesPower('m2');
  await home.forward('flush', 'm2');
  t.equal(home.others.losses, 0);
});

t.test('the home comes', async (t) => {
  const home = new Home('m2', 'm1', 'm2', 'm3');
  home.losesPower('m3');
  home.comes({ m2: 'm2 0', m3: 'm3 0' }, 'm1', 'm2', 'm3');
  await home.forward('flush', 'm2');
  t.equal(home.others.losses, 0);
  await home.forward('flush', 'm3');
  t.equal(home.others.losses, 1, 'before this member was home');
  home.clock.pass(60_000); // nobody is left at the home before
  await home.forward('flush', 'm2');
  home.losesPower('m2');
  await home.forward('write', 'm2');
  await home.forward('flush', 'm2');
  t.equal(home.others.losses, 1, 'it was flushed when it was lost');
});

/** m2 has just become home after m1, and somebody has followed and flushed; another initiator writes at m1 still. */
async function followedByOneOfTwo(): Promise<{ home: Home; known: () => number }> {
  const home = new Home('m2', 'm2', 'm3');
  home.comes({ m2: 'm2 0', m3: 'm3 0' }, 'm2', 'm3');
  home.others.admit();
  await home.forward('flush', 'm3');
  return { home, known: () => home.others.admit() };
}

t.test('what is written at the home before, after a flush here, is lost', async (t) => {
  const { home, known } = await followedByOneOfTwo();
  home.losesPower('m3');
  const knownToIt = known();
  await home.forward('flush', 'm3');
  t.not(home.others.losses, knownToIt, 'who comes then is told');
});

t.test('the same, and it is found as the last extent is given', async (t) => {
  const { home, known } = await followedByOneOfTwo();
  home.adoptGiven({ m3: 'of a disk that has lost something' }, 'm1', 'm2');
  t.not(home.others.losses, known());
});

t.test('a flush here covers all where the home has not come from elsewhere', async (t) => {
  const home = new Home('m1', 'm1', 'm2');
  home.others.admit();
  await home.forward('write', 'm2');
  await home.forward('flush', 'm2');
  home.losesPower('m2');
  await home.forward('flush', 'm2');
  t.equal(home.others.losses, 0);
});

t.test('a home that says nothing of holders has left something there', async (t) => {
  const home = new Home('m2', 'm1', 'm2');
  home.comes({}, 'm1', 'm2');
  home.losesPower('m2');
  await home.forward('flush', 'm2');
  t.equal(home.others.losses, 1);
});

t.test('the home goes, and comes back', async (t) => {
  const home = new Home('m1', 'm1', 'm2', 'm3');
  await home.forward('write', 'm2');
  home.losesPower('m2');
  await home.forward('write', 'm2');
  t.same(home.others.unflushed(0), { m1: 'm1 0', m2: 'm2 0', m3: 'm3 0' }, 'since the oldest write');
  home.adopt('m2', 'm1', 'm2', 'm3');
  await home.forward('flush', 'm2');
  t.equal(home.others.losses, 1, 'its sessions are served until they have left');
  await home.forward('write', 'm2');
  home.losesPower('m2');
  home.comes({ m2: 'm2 2' }, 'm1', 'm2', 'm3');
  await home.forward('flush', 'm2');
  t.equal(home.others.losses, 1, 'what was written before is told by the home in between');
});

t.test('what is found and not told to everybody goes on to the next home', async (t) => {
  const home = new Home('m1', 'm1', 'm2', 'm3');
  home.clock.pass(60_000); // nobody is on his way any more
  await home.forward('write', 'm2');
  home.losesPower('m2');
  await home.forward('flush', 'm2');
  const now = { m1: 'm1 0', m3: 'm3 0' };
  t.same(home.others.unflushed(0), { ...now, m2: 'm2 0' });
  t.same(home.others.unflushed(1), { ...now, m2: 'm2 1' }, 'everybody was told');
  await home.forward('write', 'm2');
  home.losesPower('m2');
  await home.forward('flush', 'm2');
  t.same(home.others.unflushed(0), { ...now, m2: 'm2 0' }, 'who was told of nothing hears of both');
  t.same(home.others.unflushed(1), { ...now, m2: 'm2 1' });
  home.adopt('m1', 'm1', 'm3');
  t.same(home.others.unflushed(1), { ...now, m2: 'm2 1' }, 'also of one that holds nothing any more');
  t.same(home.others.unflushed(2), now);
});

t.test('what the home before has not told, of this member and of one that holds nothing any more', (t) => {
  for (const [who, expected] of [
    ['', 0],
    ['m1', 1],
    ['m2', 1],
  ] as const) {
    const home = new Home('m2', 'm1', 'm2');
    home.losesPower(who);
    home.comes({ m1: 'm1 0', m2: 'm2 0' }, 'm1');
    t.equal(home.others.losses, expected);
    t.equal(home.others.admit(), 0, 'who comes now was there');
    home.others.findUntold();
    t.equal(home.others.losses, expected, 'it is found once');
    const { [who]: handedOn = '' } = home.others.unflushed(Infinity);
    t.equal(handedOn, who === '' ? '' : `${who} 0`, 'and handed on while somebody may still come');
    home.clock.pass(60_000);
    t.notSame(home.others.unflushed(Infinity)[who], `${who} 0`);
  }
  t.end();
});

t.test('a home that has gone tells who is still there of a holder that goes after it', async (t) => {
  const home = new Home('m1', 'm1', 'm2', 'm3');
  await home.forward('write', 'm3');
  home.adopt('m2', 'm1', 'm2', 'm3');
  home.losesPower('m3');
  home.adopt('m2', 'm1', 'm2');
  t.equal(home.others.losses, 1);
});

t.test('a holder that gives all before it could say that it had lost its power', async (t) => {
  const home = new Home('m1', 'm1', 'm2', 'm3');
  await home.forward('write', 'm2');
  home.adoptGiven({ m2: 'm2 1' }, 'm1', 'm3'); // what its last hello said is 'm2 0' still
  t.equal(home.others.losses, 1, 'what it gave was not what it had acknowledged');
});

t.test('a holder that loses its power after it has given all', async (t) => {
  const home = new Home('m1', 'm1', 'm2', 'm3');
  await home.forward('write', 'm2');
  home.losesPower('m2');
  home.adoptGiven({ m2: 'm2 0' }, 'm1', 'm3');
  t.equal(home.others.losses, 0, 'it gave everything, and that is durable elsewhere');
});

t.test('the same for who is home next, and has not heard of it by then', (t) => {
  const [lost, kept] = [new Home('m2', 'm1', 'm3'), new Home('m2', 'm1', 'm3')];
  lost.comesGiven({ m3: 'm3 1' }, { m3: 'm3 0' }, 'm1');
  t.equal(lost.others.losses, 1);
  kept.losesPower('m3');
  kept.comesGiven({ m3: 'm3 0' }, { m3: 'm3 0' }, 'm1');
  t.equal(kept.others.losses, 0);
  t.end();
});

t.test('a disk of the home itself that lost writes: it says so when it gives its last extent', (t) => {
  const home = new Home('m1', 'm1', 'm2');
  home.adoptGiven({ m1: 'm1 0' }, 'm2');
  t.equal(home.others.losses, 0, 'it has lost nothing');
  home.adopt('m1', 'm1', 'm2');
  home.losesWrites('m1');
  home.adopt('m1', 'm2');
  t.equal(home.others.losses, 1);
  home.adopt('m1', 'm3');
  t.equal(home.others.losses, 1, 'it is said once');
  home.adopt('m1', 'm1', 'm3');
  home.losesWrites('m1');
  home.epoch += 1;
  home.adopt('m1', 'm1', 'm3');
  t.equal(home.others.losses, 2, 'and again when it is so again, though it holds something again');
  t.end();
});

t.test('the same of one that is home no more, whose sessions have not left yet', (t) => {
  const home = new Home('m1', 'm1', 'm2');
  home.adopt('m2', 'm1', 'm2');
  home.losesWrites('m1');
  home.adopt('m2', 'm2');
  t.equal(home.others.losses, 1);
  const never = new Home('m2', 'm1', 'm2');
  never.losesWrites('m1');
  never.adopt('m2', 'm2');
  t.equal(never.others.losses, 0, 'nobody flushes where the home never was');
  t.end();
});

t.test('what was given in an earlier life is not lost in this one', (t) => {
  const home = new Home('m1', 'm1', 'm2');
  home.adoptGiven({ m1: 'm1 0' }, 'm2');
  home.losesPower('m1');
  home.adoptGiven({ m1: 'm1 0' }, 'm3');
  t.equal(home.others.losses, 0);
  t.end();
});

t.test('a loss of who has the same verifier still is found by the next home too', async (t) => {
  for (const giver of ['m1', 'm3']) {
    const home = new Home('m1', 'm1', 'm2', 'm3');
    home.others.admit();
    home.losesWrites(giver);
    home.adoptGiven({ [giver]: '7-i' }, 'm2');
    t.equal(home.others.losses, 1, giver);
    t.equal(home.others.unflushed(0)[giver], 'lost');
    home.adopt('m1', 'm2', giver);
    t.equal(home.others.unflushed(0)[giver], 'lost', 'though it holds something again');
  }
  const [gone, back] = [new Home('m2', 'm2'), new Home('m2', 'm2', 'm3')];
  gone.comesGiven({ m3: '7-i' }, { m3: 'lost' }, 'm2');
  t.equal(gone.others.losses, 1);
  back.comes({ m3: 'lost' }, 'm2', 'm3');
  await back.forward('flush', 'm3');
  t.equal(back.others.losses, 1);
});

t.test('what a member gave once says nothing of what it has held since', (t) => {
  const home = new Home('m2', 'm1', 'm2');
  home.losesPower('m1');
  home.comesGiven({ m1: 'm1 0' }, { m1: 'm1 0', m2: 'm2 0' }, 'm1', 'm2');
  t.equal(home.others.losses, 1, 'it gave half, and lost of the rest');
  t.end();
});
