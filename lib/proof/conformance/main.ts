/**
 * `make conformance`: libiscsi's suite over every kind of unit, at home, spread and moving. A test counts by the best that
 * became of it over the kinds, since most are for one kind only, and by the worst over the places.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { BlockferryError } from '../../base/errors.js';
import { wholeOf } from '../../base/units.js';
import { inWorkFolder, showProgress } from '../../bench/frame.js';
import { Scope } from '../../bench/scope.js';
import { startGroup } from '../../bench/servers.js';
import { alignedTable } from '../../bench/text.js';
import { allHold, describeLine, survivalLine, type Line } from '../figures.js';
import { exceptionsOf } from './exceptions.js';
import { KINDS, PLACES, place, type Kind, type Place } from './places.js';
import {
  listTests,
  type Outcome,
  OUTCOMES,
  runOnTheMove,
  runTest,
  untilReady,
  type Verdict,
} from './suite.js';

const MEMBERS = 3;
/** Tests from one line of progress to the next, where there is no terminal. */
const LINE_EVERY = 100;
/** From best to worst, for one test over the kinds of unit. */
const RANKS: readonly Outcome[] = ['passed', 'failed', 'hung', 'skipped'];

export interface Row extends Verdict {
  readonly test: string;
  readonly kind: Kind;
  readonly place: Place;
}

interface Options {
  readonly places: readonly Place[];
  readonly kinds: readonly Kind[];
  readonly tests: readonly string[];
  readonly jobs: number;
  readonly folder: string;
  readonly json: boolean;
}

/** @returns the process's exit code: 1 when a test that has no exception passes nowhere, or a member died */
export async function runConformance(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  const out = options.json ? process.stderr : process.stdout;
  const all = (await listTests()).map((test) => test.replace(/^ALL\./, ''));
  const exceptions = exceptionsOf(all);
  const tests = all.filter(
    (test) => options.tests.length === 0 || options.tests.some((part) => test.includes(part)),
  );
  const strange = options.tests.filter((part) => !all.some((test) => test.includes(part)));
  if (strange.length > 0) throw new BlockferryError('USAGE', `no test is named like ${strange.join(', ')}`);
  return inWorkFolder(options.folder, 'conformance', async (workFolder) => {
    const rows: Row[] = [];
    const survivals: Line[] = [];
    const total = tests.length * options.places.length * options.kinds.length;
    const took = (row: Row): void => {
      rows.push(row);
      const progress = `${rows.length}/${total} ${row.place}, ${row.kind}`;
      if (process.stderr.isTTY) showProgress(progress);
      else if (rows.length % LINE_EVERY === 0) process.stderr.write(`${progress}\n`);
    };
    for (const where of options.places) {
      const { moves, dead } = await runPlace(where, tests, options, workFolder, took);
      showProgress('');
      survivals.push(survivalLine(where, dead));
      if (moves > 0) out.write(`moving: the volumes came to another member ${moves} times meanwhile\n`);
    }
    out.write(`${[report(rows, tests, options, exceptions), ...survivals.map(describeLine)].join('\n')}\n`);
    if (options.json) process.stdout.write(`${JSON.stringify({ rows })}\n`);
    const areExcepted = shortcomings(rows, tests, options).every(({ test }) => exceptions.has(test));
    return areExcepted && allHold(survivals) ? 0 : 1;
  });
}

/** @returns how often volumes were moved, and which members died */
async function runPlace(
  where: Place,
  tests: readonly string[],
  { kinds, jobs }: Options,
  workFolder: string,
  took: (row: Row) => void,
): Promise<{ moves: number; dead: string[] }> {
  const scope = new Scope();
  const run = where === 'moving' ? runOnTheMove : runTest;
  let moves = 0;
  try {
    const group = await startGroup(MEMBERS, workFolder, scope);
    const waiting = [...kinds];
    const lane = async (): Promise<void> => {
      for (let kind = waiting.shift(); kind !== undefined; kind = waiting.shift()) {
        const volume = await place(group, kind, where);
        // Two ways to the unit: what tests of several paths need.
        const urls = [volume.url, volume.url];
        for (const test of tests) {
          const verdict = await run(`ALL.${test}`, urls);
          took({ test, kind, place: where, ...verdict });
          if (verdict.outcome === 'hung') await untilReady(urls);
        }
        await volume.stop();
        moves += volume.moves();
      }
    };
    await Promise.all(Array.from({ length: jobs }, lane));
    return { moves, dead: group.dead() };
  } finally {
    await scope.close();
  }
}

/** The best that became of a test at a place. */
function bestAt(rows: readonly Row[], test: string, where: Place): Row {
  const [best] = rows
    .filter((row) => row.test === test && row.place === where)
    .sort((a, b) => RANKS.indexOf(a.outcome) - RANKS.indexOf(b.outcome));
  if (best === undefined) throw new BlockferryError('INTERNAL', `${test} was not run`);
  return best;
}

/** What passed for no kind of unit at some place; once a test, by its worst place. */
function shortcomings(rows: readonly Row[], tests: readonly string[], { places }: Options): Row[] {
  return tests.flatMap((test) => {
    const [worst] = places
      .map((where) => bestAt(rows, test, where))
      .sort((a, b) => RANKS.indexOf(b.outcome) - RANKS.indexOf(a.outcome));
    return worst === undefined || worst.outcome === 'passed' ? [] : [worst];
  });
}

function count(outcomes: readonly Outcome[]): number[] {
  return OUTCOMES.map((outcome) => outcomes.filter((each) => each === outcome).length);
}

function report(
  rows: readonly Row[],
  tests: readonly string[],
  options: Options,
  exceptions: ReadonlyMap<string, string>,
): string {
  const { places, kinds } = options;
  const counts = places.flatMap((where) => [
    ...kinds.map((kind) => {
      const of = rows.filter((row) => row.place === where && row.kind === kind);
      return [where, kind, ...count(of.map(({ outcome }) => outcome)).map(String)];
    }),
    [where, 'any', ...count(tests.map((test) => bestAt(rows, test, where).outcome)).map(String)],
  ]);
  const missing = shortcomings(rows, tests, options);
  const [passed, failed, skipped, hung] = count(
    tests.map((test) => missing.find((row) => row.test === test)?.outcome ?? 'passed'),
  );
  const reasons = missing.map((row) => [
    row.test,
    row.place,
    row.outcome,
    exceptions.get(row.test) ?? `${row.kind}: ${row.note}`,
  ]);
  return [
    alignedTable(['PLACE', 'UNIT', ...OUTCOMES.map((outcome) => outcome.toUpperCase())], counts),
    ...(reasons.length === 0
      ? []
      : ['', alignedTable(['PASSES NOWHERE', 'PLACE', 'OUTCOME', 'WHY'], reasons)]),
    `passed ${passed}, failed ${failed}, skipped ${skipped}, hung ${hung}`,
  ].join('\n');
}

/** Those of `known` that were named; all when none was. */
function chosen<T extends string>(known: readonly T[], named: string): T[] {
  const names = named.split(',').filter(Boolean);
  const strange = names.find((name) => !known.includes(name as T));
  if (strange !== undefined)
    throw new BlockferryError('USAGE', `'${strange}' is none of ${known.join(', ')}`);
  return known.filter((name) => names.length === 0 || names.includes(name));
}

function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      places: { type: 'string', default: '' },
      kinds: { type: 'string', default: '' },
      tests: { type: 'string', default: '' },
      jobs: { type: 'string', default: '2' },
      folder: { type: 'string', default: '.' },
      json: { type: 'boolean', default: false },
    },
  });
  return {
    places: chosen(PLACES, values.places),
    kinds: chosen(Object.keys(KINDS) as Kind[], values.kinds),
    tests: values.tests.split(' ').filter(Boolean),
    jobs: wholeOf('jobs', values.jobs),
    folder: resolve(values.folder),
    json: values.json,
  };
}
