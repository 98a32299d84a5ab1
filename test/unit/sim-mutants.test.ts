/** The planted bugs of `make mutants` still fit the code they are of: one that went stale would prove nothing, silently. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { MUTANTS } from '../../lib/sim/mutants/list.js';
import { plantIn } from '../../lib/sim/mutants/mutant.js';

t.test('every mutant fits the compiled engine, once', async (t) => {
  t.ok(MUTANTS.length >= 20);
  t.equal(new Set(MUTANTS.map(({ name }) => name)).size, MUTANTS.length, 'names are unique');
  for (const mutant of MUTANTS) {
    const text = readFileSync(`dist/lib/${mutant.file}`, 'utf8');
    const planted = plantIn(text, mutant);
    t.ok(planted !== null && planted !== text, `${mutant.name} in ${mutant.file}`);
  }
});

t.test('a mutant whose place is gone, or stands twice, is stale', async (t) => {
  const mutant = { name: 'm', invariant: '-', breaks: 'it', file: 'm.js', find: 'a();', replace: 'b();' };
  t.equal(plantIn('x(); a(); y();', mutant), 'x(); b(); y();');
  t.equal(plantIn('x(); y();', mutant), null);
  t.equal(plantIn('a(); a();', mutant), null);
});
