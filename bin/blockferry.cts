#!/usr/bin/env node
/**
 * The blockferry command, as it is installed. CommonJS, and apart from the program beside it: what it sets counts only
 * until its first use, and loading an ES module is one. It does nothing else.
 */
import v8 = require('node:v8');

process.env['UV_THREADPOOL_SIZE'] ??= '16'; // POOL_THREADS of lib/base/limits.ts, an ES module; a test compares them
// The young part of the heap stays at 1 MiB. Left alone it grows to 16 with what a wave of logins leaves, and stays: half
// of what an idle session seemed to cost. A command leaves little, so collecting that more often costs nothing measurable.
v8.setFlagsFromString('--semi-space-growth-factor=1');
void import('./blockferry.js');
