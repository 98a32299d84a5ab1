/** A text file line by line, of any length, in bounded memory; gunzipped where its name ends in .gz. */
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { BlockferryError, describeError } from '../../base/errors.js';
import { TRACE_LINE_CHARACTERS_MAX } from '../../base/limits.js';

export interface Line {
  readonly text: string;
  /** Counts from 1. */
  readonly number: number;
}

/** Empty lines are left out. Throws NOT_FOUND or IO for the file, INVALID for a line that is none. */
export async function* linesOf(path: string): AsyncGenerator<Line> {
  let [rest, number] = ['', 0];
  for await (const chunk of chunksOf(path)) {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    for (const text of parts) {
      number += 1;
      check(text, path, number);
      if (text.trim() !== '') yield { text: text.replace(/\r$/, ''), number };
    }
    check(rest, path, number + 1);
  }
  if (rest.trim() !== '') yield { text: rest, number: number + 1 };
}

function check(text: string, path: string, number: number): void {
  if (text.length <= TRACE_LINE_CHARACTERS_MAX) return;
  const most = `has more than ${TRACE_LINE_CHARACTERS_MAX} characters`;
  throw new BlockferryError('INVALID', `${path}:${number}: ${most}: this is no trace`);
}

async function* chunksOf(path: string): AsyncGenerator<string> {
  const file = createReadStream(path);
  // pipeline() ends both with the error of either; the iteration below throws it.
  const bytes = path.endsWith('.gz') ? pipeline(file, createGunzip(), () => undefined) : file;
  bytes.setEncoding('utf8');
  try {
    for await (const chunk of bytes) yield chunk as string;
  } catch (error) {
    const isMissing = (error as { code?: unknown }).code === 'ENOENT';
    const what = isMissing ? 'there is no such file' : describeError(error);
    throw new BlockferryError(isMissing ? 'NOT_FOUND' : 'IO', `${path}: ${what}`);
  } finally {
    file.destroy();
  }
}
