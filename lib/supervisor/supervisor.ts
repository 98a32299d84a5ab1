/**
 * A whole group on this machine: the processes of its members, the group portal and the management API in this one.
 * Builds them, starts them in order, stops them in the reverse. Serves no byte of a volume, so that it need never die.
 */
import { join, resolve } from 'node:path';
import type { Clock } from '../base/clock.js';
import { BlockferryError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { randomToken, type Random } from '../base/random.js';
import { createVolume, ensureGroup } from '../group/admin.js';
import { openStore } from '../group/open-store.js';
import type { GroupStore } from '../group/store.js';
import { Portal } from '../iscsi/target/portal.js';
import { formatAddress, type VolumeView } from '../manage/api.js';
import { GroupDesk } from '../manage/group-desk.js';
import { ManageServer } from '../manage/server.js';
import { Hub } from '../peer/hub.js';
import { MemberIds } from '../routing/member-ids.js';
import { RoutingTable } from '../routing/table.js';
import { DataFolder } from '../storage/data-folder.js';
import { chooseAddresses, loadAddresses, saveAddresses, type GroupAddresses } from './addresses.js';
import { MemberProcess } from './member-process.js';
import { PortalDirectory } from './portal-directory.js';
