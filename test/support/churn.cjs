// Loaded into a process before its program: at SIGUSR2 it makes garbage that outlives collections by the thousand, as a wave
// of logins does, and writes down how large the young part of the heap is then.
const { writeFileSync } = require('node:fs');
const { join } = require('node:path');
const { getHeapSpaceStatistics } = require('node:v8');

process.on('SIGUSR2', () => {
  const kept = [];
  for (let i = 0; i < 1e6; i++) kept[i % 20_000] = { i };
  const young = getHeapSpaceStatistics().find((space) => space.space_name === 'new_space');
  writeFileSync(join(process.env.CHURN_FOLDER, `${process.pid}`), `${young.space_size}`);
});
