/** The blockferry program whose members watch for orders at their waypoints and disks: `make crash` runs it. Not installed. */
import { addMemberWith } from '../lib/cli/member.js';
import { commands } from '../lib/cli/commands.js';
import { processDoor } from '../lib/cli/door.js';
import { runCli } from '../lib/cli/main.js';
import { fillableDoors } from '../lib/proof/crash/full-disk.js';
import { ORDERS_VARIABLE, OrderedWaypoints } from '../lib/proof/crash/orders.js';

const argv = process.argv.slice(2);
const name = argv[argv.indexOf('--name') + 1] ?? '';
const folder = process.env[ORDERS_VARIABLE] ?? '';
const waypoints = new OrderedWaypoints(folder, name);
const watched = commands.map((command) =>
  command.name === 'member'
    ? { ...command, load: () => Promise.resolve(addMemberWith(waypoints, fillableDoors(folder, name))) }
    : command,
);

process.exitCode = await runCli(argv, processDoor, watched, 'crash');
