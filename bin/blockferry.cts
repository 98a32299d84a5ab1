#!/usr/bin/env node
/**
 * The blockferry command, as it is installed. CommonJS, and apart from the program beside it: the size of the thread pool
 * counts only until its first use, and loading an ES module is one; the young part of the heap does not shrink. It does
 * nothing else.
 */
import v8 = require('node:v8');

process.env['UV_THREADPOOL_SIZE'] ??= '16'; // POOL_THREADS of lib/base/limits.ts, an ES module; a test compares them

// The young part of a heap grows from 1 MiB to 16, twice, with what a wave of logins leaves, and stays so: half of what an
// idle session seemed to cost. A command leaves little, so collecting 1 MiB more often costs nothing that can be measured;
// a start takes 20 ms longer, since V8 takes no compiled code of Node's own for other flags. Hence only what stays.
const stays = ['serve', 'up', 'member'].includes(process.argv[2] ?? '');
const given = [...process.execArgv, process.env['NODE_OPTIONS'] ?? ''].join(' ');
if (stays && !given.includes('semi-space')) v8.setFlagsFromString('--semi-space-growth-factor=1');

void import('./blockferry.js');
