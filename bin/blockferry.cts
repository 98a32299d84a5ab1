#!/usr/bin/env node
/**
 * The blockferry command, as it is installed. CommonJS, and apart from the program beside it: the size of the thread pool
 * counts only until its first use, and loading an ES module is one. It does nothing else.
 */
process.env['UV_THREADPOOL_SIZE'] ??= '16'; // POOL_THREADS of lib/base/limits.ts, an ES module; a test compares them
void import('./blockferry.js');
