/** A home that reads a later route without having read the one at which a member gave what its disk had lost (I1). */
import t from 'tap';
import { HoldersHome as Home } from '../support/holders-home.js';

t.test(
  'a disk that lost writes, and holds extents again before the home has read that it gave them',
  async (t) => {
    const home = new Home('m1', 'm1', 'm2');
    await home.forward('write', 'm2');
    home.losesWrites('m2');
    home.epoch += 1;
    home.adopt('m1', 'm1', 'm2');
    await home.forward('flush', 'm2');
    t.equal(home.others.losses, 1, 'a flush that its next file takes covers nothing of the one before');
    t.equal(home.others.unflushed(0)['m2'], 'lost', 'the next home tells who was not told');
    home.adopt('m1', 'm1');
    home.adopt('m1', 'm1', 'm2');
    await home.forward('flush', 'm2');
    t.equal(home.others.losses, 1, 'once');
    home.losesPower('m2');
    await home.forward('flush', 'm2');
    t.equal(home.others.losses, 1, 'nothing is there that is not flushed');
  },
);

t.test('the same where it was given again since, also by another verifier', async (t) => {
  const home = new Home('m1', 'm1', 'm2');
  await home.forward('write', 'm2');
  home.losesWrites('m2');
  home.epoch += 1;
  home.adoptGiven({ m2: 'm2 0' }, 'm1');
  t.equal(home.others.losses, 1, 'what it gave last says nothing of the time before');
  home.adopt('m1', 'm1', 'm2');
  await home.forward('write', 'm2');
  home.losesWrites('m2');
  home.epoch += 1;
  home.adoptGiven({ m2: 'm2 1' }, 'm1');
  t.equal(home.others.losses, 2, 'all that is gone together is told once');
});

t.test('the same of a home that had nothing there which was not flushed', async (t) => {
  const home = new Home('m1', 'm1', 'm2');
  await home.forward('write', 'm2');
  await home.forward('flush', 'm2');
  home.losesWrites('m2');
  home.epoch += 1;
  home.adopt('m1', 'm1', 'm2');
  t.equal(home.others.losses, 0);
  home.losesPower('m2');
  await home.forward('flush', 'm2');
  t.equal(home.others.losses, 1, 'it may have written there before it read that');
});

t.test('the same where the home itself came in the meantime', async (t) => {
  for (const [who, holders] of [
    ['m3', ['m2', 'm3']],
    ['m3', ['m2']],
    ['m1', ['m1', 'm2']],
    ['m1', ['m2']],
  ] as const) {
    for (const wasKnown of [true, false]) {
      const home = new Home('m2', 'm1', 'm2', 'm3');
      if (wasKnown) home.losesWrites(who);
      home.epoch += 1;
      home.homeComes();
      home.epoch += 1;
      if (!wasKnown) home.losesWrites(who);
      home.epoch += 1;
      home.comes({ m1: 'm1 0', m2: 'm2 0', m3: 'm3 0' }, ...holders);
      const expected = wasKnown ? 0 : 1;
      t.equal(home.others.losses, expected, 'the home before has told what it knew');
      t.equal(home.others.admit(), 0, 'who comes now was there');
      if (holders.length > 1 && who === 'm3') await home.forward('flush', who);
      home.others.findUntold();
      t.equal(home.others.losses, expected);
    }
  }
});

t.test('a holder of after the home came, whose disk lost what sessions at the home before wrote', (t) => {
  const home = new Home('m2', 'm2');
  home.homeComes();
  home.comes({ m2: 'm2 0' }, 'm2');
  home.adopt('m1', 'm2', 'm3');
  home.losesWrites('m3');
  home.adopt('m1', 'm2');
  t.equal(home.others.losses, 1);
  t.not(home.others.losses, home.others.admit(), 'who comes then is told');
  t.end();
});
