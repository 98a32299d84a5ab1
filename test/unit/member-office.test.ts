/** The office of a home: who rests on being the only one to serve a unit, and when that is so. */
import t from 'tap';
import { HomeOffice } from '../../lib/member/home-office.js';
import { turn } from '../support/wait.js';

/** An office whose home, and whose others, are the test's. */
function world() {
  const seen: string[] = [];
  const asked: (() => void)[] = [];
  const at = { home: true };
  const office = new HomeOffice({
    isHome: () => at.home,
    othersGone: () => new Promise((resolve) => asked.push(resolve)),
  });
  const enter = (name: string): void => office.enter(() => seen.push(name));
  return { office, at, asked, seen, enter };
}

t.test('nobody enters before the sessions of the home before have gone, and then everybody', async (t) => {
  const { asked, seen, enter } = world();
  enter('one');
  enter('two');
  await turn();
  t.same([seen, asked.length], [[], 1], 'the others are asked once');
  asked[0]?.();
  await turn();
  t.same(seen, ['one', 'two']);
  enter('three');
  t.same(seen, ['one', 'two', 'three'], 'at once from then on');
  t.equal(asked.length, 1);
});

t.test('a home is given away when nobody is inside, and nobody enters meanwhile', async (t) => {
  const { office, at, asked, seen, enter } = world();
  enter('one');
  asked[0]?.();
  await turn();
  at.home = false;
  let isEmpty = false;
  void office.emptied().then(() => (isEmpty = true));
  enter('two');
  await turn();
  t.same([isEmpty, seen], [false, ['one']]);
  office.leave();
  await turn();
  t.ok(isEmpty);
  at.home = true;
  office.settle();
  t.same(seen, ['one', 'two'], 'it was not given away after all');
});

t.test('elsewhere nobody enters; a home that comes back asks anew', async (t) => {
  const { office, at, asked, seen, enter } = world();
  enter('one');
  at.home = false;
  office.close();
  enter('two');
  at.home = true;
  office.settle();
  t.equal(asked.length, 2);
  asked[0]?.();
  await turn();
  t.same(seen, [], 'the answer of the time before opens nothing');
  asked[1]?.();
  await turn();
  t.same(seen, ['one', 'two']);
  at.home = false;
  t.throws(() => office.close(), { message: /rested on it/ });
  office.leave();
  t.throws(() => office.close(), { message: /rested on it/ });
  office.leave();
  office.close();
  t.throws(() => office.leave(), { message: /more left/ });
});
