/** The blockferry program whose members watch for orders at their waypoints: what `make crash` runs. Not installed. */
import { addMemberWith } from '../lib/cli/member.js';
import { commands } from '../lib/cli/commands.js';
import { processDoor } from '../lib/cli/door.js';
import { runCli } from '../lib/cli/main.js';
import { ORDERS_VARIABLE, OrderedWaypoints } from '../lib/proof/crash/orders.js';

const argv = process.argv.slice(2);
const name = argv[argv.indexOf('--name') + 1] ?? '';
const waypoints = new OrderedWaypoints(process.env[ORDERS_VARIABLE] ?? '', name);
const watched = commands.map((command) =>
  command.name === 'member' ? { ...command, load: () => Promise.resolve(addMemberWith(waypoints)) } : command,
);

process.exitCode = await runCli(argv, processDoor, watched, 'crash');
