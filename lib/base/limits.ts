/** Every limit of Blockferry, each with its reason. Sizes in bytes and times in milliseconds unless named otherwise. */

const KiB = 1024;
const MiB = 1024 * KiB;

// --- iSCSI -------------------------------------------------------------------------------------------------

/** Largest data segment we declare and accept in full feature phase: a whole 256 KiB burst in one PDU. */
export const RECV_DATA_SEGMENT_BYTES = 256 * KiB;
/** Login and discovery-stage data segments: the default of RFC 7143 13.12, which applies before negotiation ends. */
export const LOGIN_DATA_SEGMENT_BYTES = 8 * KiB;
/** Text gathered over C-bit continuations before a login or text exchange is refused; real ones need under 2 KiB. */
export const TEXT_BYTES_MAX = 64 * KiB;
/** Keys in one negotiation; the standard has about thirty. */
export const TEXT_KEYS_MAX = 256;
/** An answer to SendTargets that our initiator reads: ten thousand targets with a long name and an address each. */
export const DISCOVERY_BYTES_MAX = 4 * MiB;
export const DISCOVERY_KEYS_MAX = 20_000;
/** A key's name: RFC 7143 6.1. */
export const TEXT_NAME_BYTES_MAX = 63;
/** A key's value: RFC 7143 6.1 allows 255 bytes, and some 2 KiB for large binary ones. */
export const TEXT_VALUE_BYTES_MAX = 2 * KiB + 64;
/** iSCSI names: RFC 7143 4.2.7.1. */
export const ISCSI_NAME_BYTES_MAX = 223;
/** Login Requests in one login phase before we give up on an initiator that never transits. */
export const LOGIN_PDUS_MAX = 32;
/** A connection that has not finished login by then is closed; libiscsi needs milliseconds. */
export const LOGIN_DEADLINE_MS = 15_000;
/** An answer that says "not authenticated" waits so long: 2048 connections then guess less than a secret of 96 bits has. */
export const LOGIN_FAILURE_PAUSE_MS = 1_000;
/** Failed authentications are counted, and told at most this often: each guess would else be a line. */
export const FAILED_LOGIN_LOG_MS = 1_000;
/** RFC 7143 6.1: a binary value is at most 1024 bytes long; a CHAP challenge or response is one. */
export const BINARY_VALUE_BYTES_MAX = 1024;
/** RFC 7143 9.2.1 wants 96 random bits at least, and some initiators take no more than 255 bytes. */
export const CHAP_SECRET_BYTES_MIN = 12;
export const CHAP_SECRET_BYTES_MAX = 255;
export const CHAP_ACCOUNTS_MAX = 1024;
/** A thousand accounts with long names, and the initiators that may use them. */
export const CHAP_FILE_BYTES_MAX = 4 * MiB;
/** Commands an initiator may have outstanding: MaxCmdSN − ExpCmdSN + 1. libiscsi and Linux use at most 128. */
export const COMMAND_WINDOW = 256;
/** Largest data transfer of one command (VPD B0h MAXIMUM TRANSFER LENGTH, if not HOME_COMMAND_BYTES_MAX): bounds the buffer of
 *  one task. */
export const TRANSFER_BYTES_MAX = 8 * MiB;
/** Bytes of write data one session may hold in tasks before its socket is no longer read. */
export const SESSION_WRITE_BYTES_MAX = 64 * MiB;
/** Bytes waiting in a socket's send queue before reads of that session are held back. */
export const SEND_QUEUE_BYTES_MAX = 8 * MiB;
/** Write data and queued read data of all sessions of a member: what four sessions may hold each by itself. Most hold
 *  some KiB, since what is answered is gone; it is for those whose disk or initiator is slow. */
export const MEMBER_DATA_BYTES_MAX = 256 * MiB;
/** Data that comes unasked is kept beyond that up to this much: the first bursts of one session's whole window. */
export const MEMBER_UNASKED_BYTES_MAX = 64 * MiB;
/** Write data that a session may hold however little is left: the first burst of one command. */
export const WRITE_SHARE_BYTES = 256 * KiB;
/** Read data that a session may queue however little is left; more would only wait for a slow reader. */
export const READ_SHARE_BYTES = 64 * KiB;
/** What a session comes to within its shares: those, a PDU that is being received, the answers to its pings. */
export const SESSION_SHARE_BYTES_MAX = 1 * MiB;
/** Connections a portal accepts at once, logged in or not. */
export const CONNECTIONS_MAX = 2048;
/** After a logout that it has asked for the target closes the connection, if the initiator does not, once the session is as
 *  old as this. libiscsi, which comes back after no other, reconnects no sooner than 3 s (by whole seconds) after it did
 *  before, and gives up where the connection ends meanwhile; of an older session it waits for that end. */
export const LOGOUT_FIN_AGE_MS = 4_500;
/** A silent connection gets a NOP-In after this long ... */
export const NOP_INTERVAL_MS = 30_000;
/** ... and is closed when it does not answer within this. */
export const NOP_DEADLINE_MS = 15_000;
/** Sessions are looked through this often for commands that do not come, or whose data does not ... */
export const OVERDUE_LOOK_MS = 30_000;
/** ... and end when nothing of one has come over so many looks: 60 s at least. What a session is asked for at once (64 MiB)
 *  comes in less over 10 Mbit/s, and hosts give a command up after 30 s. */
export const OVERDUE_LOOKS_MAX = 2;

/** PDUs, or frames of a peer, sent in one write. At depth 32 one write of all makes both ends take turns: 150,000 reads a
 *  second where 16 make 220,000 (4 KiB, on 2 cores). At 8 the writes cost more than the waiting: a tenth less. */
export const BATCH_PDUS_MAX = 16;
/** Bytes sent in one write, unless one answer alone is more: the initiator has something to do meanwhile. */
export const BATCH_BYTES_MAX = 512 * KiB;
/** What one session may move before the others' sockets are looked at: 0.2 ms of copying. */
export const TURN_BYTES_MAX = 512 * KiB;
/** What is put aside of a socket read when a turn ends within it: three hundred commands. */
export const TURN_REST_BYTES_MAX = 16 * KiB;
/** One socket read: sixty commands with 4 KiB of data each; it should stay in the processor's second cache. */
export const READ_BUFFER_BYTES = 256 * KiB;

// --- SCSI -----------------------------------------------------------------------------------------------------

/** What a unit says of itself where nobody chose (SPC-4 6.4.2), and how a choice has to look: its fields are ASCII graphic
 *  characters (SPC-4 4.3.1) of 8, 16 and, by our choice, at most 32 bytes; blanks only within. */
export const VENDOR_DEFAULT = 'BLKFERRY';
export const PRODUCT_DEFAULT = 'VOLUME';
export const VENDOR_PATTERN = /^(?! )[ -~]{0,7}[!-~]$/;
export const PRODUCT_PATTERN = /^(?! )[ -~]{0,15}[!-~]$/;
export const SERIAL_PATTERN = /^(?! )[ -~]{0,31}[!-~]$/;

/** Logical blocks of one COMPARE AND WRITE (VPD B0h): what its one byte can say. */
export const COMPARE_AND_WRITE_BLOCKS_MAX = 255;
/** Logical blocks of one WRITE SAME (VPD B0h): what its 10-byte form can say. Hosts that ask for more at once would wait
 *  for it longer than they wait for any other command. */
export const WRITE_SAME_BLOCKS_MAX = 65_535;
/** Logical blocks of one UNMAP over all its descriptors (VPD B0h). */
export const UNMAP_BLOCKS_MAX = 1024 * 1024;
/** Descriptors of one UNMAP (VPD B0h); bounds its parameter list to 4 KiB and a header. */
export const UNMAP_DESCRIPTORS_MAX = 256;
/** Descriptors of one EXTENDED COPY: from one unit to another takes two and one; ESXi puts a few segments into a command. */
export const COPY_CSCDS_MAX = 8;
export const COPY_SEGMENTS_MAX = 16;
/** One segment of it: four times what ESXi sends unless told otherwise. All of a command are 256 MiB, one or two seconds,
 *  of the 30 that hosts wait. */
export const COPY_SEGMENT_BYTES_MAX = 16 * MiB;
/** Copies that one unit works on at a time, with a buffer of one piece each. libiscsi's iscsi-dd sends 50. */
export const COPIES_MAX = 64;
/** Copies of other units that are let in at one unit: what sixteen of them can have at work. Each is a few hundred bytes. */
export const COPY_GUESTS_MAX = 16 * COPIES_MAX;
/** A long VERIFY, WRITE SAME or copy reads or writes this much, then lets others run. */
export const PIECE_BYTES_MAX = 1 * MiB;
/** A long UNMAP or run of zeros clears this much at once; nothing is copied, so the piece is larger. */
export const CLEAR_PIECE_BYTES_MAX = 64 * MiB;

// --- iSCSI initiator (the harness) --------------------------------------------------------------------------

/** Redirects (0101h) in one login before the initiator calls it a loop; a sound group needs one. */
export const REDIRECTS_MAX = 8;
/** SCSI commands one initiator keeps outstanding at most; more wait in its queue. */
export const INITIATOR_TASKS_MAX = 1024;
/** One attempt to connect and log in. */
export const INITIATOR_LOGIN_DEADLINE_MS = 5_000;
/** From the loss of a session to giving up on it, with every command that waits. */
export const INITIATOR_RECOVERY_DEADLINE_MS = 30_000;
/** Pause before the second attempt of a recovery (the first is at once); doubles up to the maximum. */
export const INITIATOR_BACKOFF_MS_MIN = 20;
export const INITIATOR_BACKOFF_MS_MAX = 1_000;
/** A session that hears nothing for this long sends a NOP-Out, and is lost after twice as long. */
export const INITIATOR_PING_MS = 5_000;
/** Breaches of the protocol that are remembered, of a target that commits many. */
export const INITIATOR_VIOLATIONS_MAX = 1000;
/** Bytes of the buffer that the initiator's socket reads into. */
export const INITIATOR_READ_BUFFER_BYTES = 512 * KiB;
/** Bytes of the buffer that outgoing headers and small data are gathered in. */
export const INITIATOR_SEND_BUFFER_BYTES = 256 * KiB;
/** Data up to this is copied beside its header; longer data is sent from where it is. */
export const INITIATOR_COPY_BYTES_MAX = 8 * KiB;

// --- volumes and extents ------------------------------------------------------------------------------------

export const EXTENT_BYTES_DEFAULT = 4 * MiB;
export const EXTENT_BYTES_MIN = 64 * KiB;
export const EXTENT_BYTES_MAX = 1024 * MiB;
/** 16 TiB in 4 MiB extents; bounds the routing table of one volume. */
export const EXTENTS_MAX = 4 * 1024 * 1024;
export const VOLUME_NAME_PATTERN = /^[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?$/;
export const MEMBER_NAME_PATTERN = /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/;
/** Members of one group: every login asks each of them to fence, and each member keeps a link to each other. */
export const MEMBERS_MAX = 64;

// --- peers ---------------------------------------------------------------------------------------------------

/** Payload of one peer frame: an I/O is split at this, so that small requests get through between large ones. */
export const PEER_PAYLOAD_BYTES_MAX = 1 * MiB;
/** Requests outstanding on one peer link; beyond it requests wait in the sender. */
export const PEER_REQUESTS_MAX = 1024;
/** Payload bytes outstanding on one peer link, asked for or brought; bounds what either end keeps for the other. */
export const PEER_BYTES_MAX = 16 * MiB;
/** Bytes waiting in a peer link's send queue before it is read no further; two honest members never get there. */
export const PEER_SEND_QUEUE_BYTES_MAX = 2 * PEER_BYTES_MAX + 4 * MiB;
/** One read of a peer socket: a whole frame of bulk. Less, and TCP's window shrinks: its timers are felt beside a move. */
export const PEER_READ_BUFFER_BYTES = 1 * MiB;
/** Connections a peer port accepts: two per member and direction, and the management process. */
export const PEER_CONNECTIONS_MAX = 4 * MEMBERS_MAX;
/** A peer that has not said hello by then is closed. */
export const PEER_HELLO_DEADLINE_MS = 5_000;
/** A peer request unanswered this long fails; the link is then closed, since its answer may still come. */
export const PEER_REQUEST_DEADLINE_MS = 15_000;
/** A request to a member that we have no link to waits this long for the dial: less than the time by which a lease is
 *  believed over before it is (group/ledger-lease.ts), or what waits could be sent by a member that may not serve any more. */
export const PEER_DIAL_WAIT_MS = 1_000;
/** Pause between two dials of one member; doubles up to the maximum. */
export const PEER_BACKOFF_MS_MIN = 50;
export const PEER_BACKOFF_MS_MAX = 2_000;
/** A link is asked for a sign of life this often ... */
export const PEER_PING_MS = 2_000;
/** ... and is dead when nothing at all has come for this long while something should have. */
export const PEER_SILENCE_MS = 6_000;

/** A forwarded I/O waits this long for a holder that is away: a member is started again within seconds, and Linux
 *  and libiscsi wait longer than this before they give a command up. */
export const FORWARD_PATIENCE_MS = 25_000;
/** Pause between two tries to reach a holder that is away. */
export const FORWARD_RETRY_MS = 20;

// --- commands for the home of a volume ---------------------------------------------------------------------------

/** Data of one request to the home where members serve for each other (VPD B0h): with a CDB it fits one frame between them, so
 *  that a command is one request, which is done or is not. Hosts that ask send no more at once; of those that do not, or pass on
 *  what others ask for, READ and WRITE go in several. */
export const HOME_COMMAND_BYTES_MAX = 512 * KiB;
/** A command takes as long as it takes, a sanitize operation hours; whether the home is still there say the link's pings. */
export const HOME_COMMAND_MS_MAX = 24 * 3600 * 1000;
/** Pause between two looks whether a home that is about to be given away has finished its commands. */
export const HOME_QUIET_LOOK_MS = 2;
/** Pause before it is tried again, after commands took longer than they may be held up: on a slow disk all others would
 *  otherwise be stopped most of the time. */
export const HOME_QUIET_RETRY_MS = 10_000;

// --- moves ----------------------------------------------------------------------------------------------------

/** The copier's unit and the granularity of "dirty". */
export const MOVE_CHUNK_BYTES = 64 * KiB;
/** One piece of the background copy: large enough to be cheap, small enough not to stand before a foreground I/O. */
export const MOVE_COPY_BYTES = 256 * KiB;
/** How often a member writes the figures of its moves: what a progress bar can show. */
export const PROGRESS_INTERVAL_MS = 200;
/** Data in one batch: what one sync at the destination makes durable. */
export const MOVE_BATCH_BYTES = 32 * MiB;
/** The same while no initiator is at work, who would have all of it under the interceptor: fewer waits for a commit. */
export const MOVE_BATCH_BYTES_ALONE = 128 * MiB;
/** Extents in one batch, most of them empty then: bounds the requests sent at once. */
export const MOVE_BATCH_EXTENTS = 256;
/** The last sync of a batch holds its writes: longer than this, and they are let go and it is tried again. */
export const MOVE_HOLD_MS_MAX = 2_000;
/** Emptying an extent of 1 GiB, or making it durable, takes a slow disk this long; nobody is held up meanwhile. */
export const MOVE_STEP_MS_MAX = 120_000;
/** Extents of one move copied at the same time. More fill the destination's receive window, and forwarded I/O behind
 *  the copies waits for them and out TCP's timers (p99.9 of 22 ms at 8, 9 ms at 2). */
export const MOVE_EXTENTS_IN_FLIGHT = 2;
/** The same while no initiator is at work: a tenth faster. */
export const MOVE_EXTENTS_IN_FLIGHT_ALONE = 4;
/** What the copy of a move may take beside initiators who want all that the member has, and what it begins with: of 4 KiB
 *  70/30 at depth 32, on 2 cores, half is kept at this (migration/README.md), a fifth when the copy goes as fast as it can. */
export const MOVE_BYTES_PER_SECOND_FLOOR = 100 * MiB;
/** The same beside nothing but writes; from half of them on by their share. A write costs twice while its extent is on the
 *  move, so here a move that is over sooner is worth more than one that is gentle. */
export const MOVE_BYTES_PER_SECOND_FLOOR_WRITES = 320 * MiB;
/** ... and beside initiators who want little: half of what the copy can, so that who comes next finds some of the loop
 *  free until the pace is looked at again. */
export const MOVE_BYTES_PER_SECOND_CEILING = 384 * MiB;
/** Share of the source's event loop in use from which a move slows down, and below which it may go faster: at 70 % a
 *  command waits for two others on average. */
export const MOVE_LOOP_BUSY_HIGH = 0.7;
export const MOVE_LOOP_BUSY_LOW = 0.55;
/** The same for the destination's answer to a copy, as a mirrored write would wait for it: 0.4 ms where all is quiet,
 *  1 ms beside a load at depth 32; beyond, the destination's loop or its disk is behind. */
export const MOVE_LATENCY_MS_HIGH = 4;
export const MOVE_LATENCY_MS_LOW = 2;
/** I/Os a second on the volume at its source from which initiators count as at work. */
export const MOVE_BUSY_OPS_PER_SECOND = 100;
/** Bytes of extents given away that a member leaves in its file while initiators write to the rest of it, and for how long
 *  after the last batch (a batch is committed about every 300 ms): a punch of 4 MiB holds the file's writes for 2 ms. */
export const GIVE_BACK_BYTES_MAX = 1024 * MiB;
export const GIVE_BACK_DELAY_MS = 1_000;
/** Pause before an extent whose destination failed is copied again; doubles up to the maximum. */
export const MOVE_BACKOFF_MS_MIN = 50;
export const MOVE_BACKOFF_MS_MAX = 5_000;
/** How often a destination looks whether the sources of what it receives are still in the group: what they leave behind
 *  is space, in no hurry; a source that was away for a moment begins its extents anew then. */
export const ORPHANS_LOOK_MS = 10_000;
/** Pause before space that could not be given back is tried again: the disk that failed needs a rest. */
export const GIVE_BACK_RETRY_MS = 2_000;
/** Restarts of one extent without any progress before the whole move is given up and undone. */
export const MOVE_RESTARTS_MAX = 12;
/** What initiators are given to leave the old home (Asynchronous Message event 1, Parameter3). */
export const HANDOVER_DEADLINE_SECONDS = 3;

// --- storage ---------------------------------------------------------------------------------------------------

/** Reads and writes up to this run on the event loop when the page cache can take them: 1 MiB is about 0.3 ms of copying. */
export const LOOP_IO_BYTES_MAX = 1 * MiB;
/** How long the kernel's word holds that a page is cached. A page that leaves the cache meanwhile makes the loop wait for
 *  the disk; asking costs 10 µs for 2 MiB, which at this is 1 % of a processor for 2 GiB read over and over. */
export const RESIDENT_MS = 1_000;
/** Reads that found something uncached within RESIDENT_MS before nothing of their file is taken for cached: were each of
 *  them a page that the loop then waits for, at 0.2 ms of a disk, it would wait for 1 % of the time. */
export const MAPPED_MISSES_MAX = 50;
/** A write on the loop that took longer was throttled (dirty pages, a slow disk): writes go to the thread pool for a while.
 *  Above a time slice or two of a busy machine, so that being preempted does not look like it. */
export const SLOW_WRITE_MS = 8;
/** A read on the loop that took longer came from the disk (only where the kernel cannot be asked not to wait). */
export const SLOW_READ_MS = 0.5;
/** Fast calls in a row in the pool before the loop is trusted again; doubles at each relapse up to the maximum. */
export const FAST_CALLS_MIN = 16;
export const FAST_CALLS_MAX = 1024;
/** How much of a file is known together to be a hole: 16 TiB take 2 MiB of bits. */
export const HOLE_GRAIN_BYTES = 1 * MiB;
/** A discard is cut into pieces of this, since the kernel holds the file while it punches (13 ms per MiB seen). */
export const PUNCH_PIECE_BYTES = 4 * MiB;
/** One write call on the loop. What it writes lies in one folio of the page cache, and ext4 walks the whole folio for each
 *  small write into it later: 4 KiB take 6 µs into 64 KiB, 12 µs into 256 KiB, 14 to 30 µs into 1 MiB. */
export const WRITE_CALL_BYTES_MAX = 64 * KiB;
/** Threads of a serving process: most of them wait for the disk, and Node's four would be taken by one file's durable
 *  writes, with every cold read behind them. bin/blockferry.cts has the number a second time. */
export const POOL_THREADS = 16;
/** Calls that one file may have in the pool for each thread that is free. At 2 a file alone holds 11 of 16 threads, and 3 of
 *  Node's four; of two that hang each holds 7, and two stay free. Below that cold reads would have less than a disk takes. */
export const POOL_SHARE = 2;
/** FUA writes of one file in the thread pool at once: they wait for the disk, which takes several in one go. */
export const DURABLE_WRITES_IN_POOL = 8;
/** Pause before a volume's file that could not be opened is tried again: as soon as a person would look, rare enough for
 *  a thousand volumes on one broken disk. */
export const OPEN_RETRY_MS = 1_000;

// --- group -----------------------------------------------------------------------------------------------------

/** A member's lease. Long enough that a busy loop does not lose it, short enough that a dead member is seen. */
export const LEASE_TTL_MS = 6_000;
/** Pause before what a member follows is listed again when the store did not answer. */
export const STORE_RELIST_RETRY_MS = 1_000;
/** Pause before a commit whose answer was lost is read back again: what waits for it is I/O. */
export const READ_BACK_RETRY_MS = 100;
/** How long a login waits for a home that is being started again, or committed: under LOGIN_DEADLINE_MS by far. */
export const LOGIN_HOME_WAIT_MS = 5_000;
/** A login waits this long for a running member to drain what the initiator left there. */
export const FENCE_DEADLINE_MS = 10_000;
/** Registrations of a volume (SPC-4 5.13.7): every commit of its reservations writes all of them. */
export const REGISTRATIONS_MAX = 256;
/** Members that a load vector can speak of: groups of more than MEMBERS_MAX exist on paper and in the simulator. */
export const MEMBERS_KNOWN_MAX = 1024;
/** Volumes in one load vector, the busiest first: what is below the five hundredth has nothing worth moving. A vector of so
 *  many is 300 KiB, under one peer frame. */
export const LOADED_VOLUMES_MAX = 512;
/** Hot extents told of one volume: enough to halve what a Zipf load makes of a thousand extents. */
export const HOT_EXTENTS_MAX = 64;
/** Places of the sketch of a volume's hot extents: what it says of an extent is short by a 256th of the requests at most. */
export const HEAT_PLACES = 256;
/** Windows after which a request counts half in it: what was hot an hour ago is nobody's reason to move. */
export const HEAT_HALF_LIFE_WINDOWS = 2;
/** Requests of a volume of which one is looked at closely (300 ns): at 200,000 a second 1 % of their time at most ... */
export const SAMPLE_EVERY_MAX = 64;
/** ... and fewer where that gives less than this many in a window: a percent of them is a share that can be told. */
export const SAMPLES_WANTED = 2048;
/** Ends of requests that a volume remembers: as many interleaved streams are seen to be sequential. A power of two. */
export const STREAMS_SEEN = 32;
/** Parts of a window, and how many of them burstiness looks at: at 30 s a window, bursts of 4 s within the last minute. */
export const SLICES_PER_WINDOW = 8;
export const SLICES_SEEN = 16;
/** Hot extents told in one load vector, of the busiest volumes first: 16 KiB of it. */
export const HOT_EXTENTS_TOLD_MAX = 1024;
/** Up to so many members each tells each other directly: a thousand messages a window in the whole group ... */
export const TOLD_DIRECTLY_MAX = 32;
/** ... beyond, each tells so many by chance, and passes on what it has heard: a vector is known to 99 % of a
 *  thousand within four windows. */
export const GOSSIP_FANOUT = 8;
/** One message of load vectors, in one peer frame with some room to spare. */
export const LOADS_BYTES_MAX = 960 * KiB;
/** Windows after which a vector is not acted on, unless the group says otherwise: two may be lost, ... */
export const STALE_WINDOWS = 3;
/** ... and where members pass vectors on, it may have taken longer to come. */
export const STALE_WINDOWS_GOSSIP = 6;
/** Candidates that a plan remembers although it did not take them: what a person looks through. */
export const ALTERNATIVES_MAX = 16;
/** Requests that a member keeps for who records them and asks ten times a second: 160,000 a second, in 0.8 MiB of JSON. */
export const TRACE_ROWS_MAX = 16_384;
/** A recording that nobody has asked for that long is over. */
export const TRACE_IDLE_MS = 5_000;
/** Moves that have ended and are still known: what people look through, and what says which extents have moved lately. */
export const MOVES_REMEMBERED_MAX = 256;
/** Moves of one plan: more than a group carries out before it looks again. */
export const BALANCE_MOVES_MAX = 64;
/** What a member takes beside the others; 0 is nothing. Beyond these nobody has hardware, and figures lose their sense. */
export const MEMBER_WEIGHT_MIN = 0.001;
export const MEMBER_WEIGHT_MAX = 1000;
/** Full volumes that could not be made, and why: each is known until one of its name is made, or newer ones come. */
export const CREATIONS_REMEMBERED_MAX = 16;
/** Labels of a volume or member, and how they look. */
export const LABELS_MAX = 16;
export const LABEL_PATTERN = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/;
/** Decisions of the balancer that are remembered: some days of a quiet group, an hour of a busy one. */
export const DECISIONS_MAX = 200;
/** A decision to do nothing that is made again is written again this often at most. */
export const DECISION_REPEAT_MS = 60_000;
/** A line of a block trace: real ones are under 200 characters, an initiator's name included. */
export const TRACE_LINE_CHARACTERS_MAX = 4096;
export const TRACE_VOLUMES_MAX = 100_000;
/** Extents of all volumes of a trace together, 64 TiB of them: some 500 MiB. */
export const TRACE_EXTENTS_MAX = 16 * 1024 * 1024;
/** Windows times members that a simulation keeps the figures of, for all its policies together: some 500 MiB. */
export const SIMULATED_FIGURES_MAX = 4_000_000;
/** Windows, and extents of volumes asked in each, that the simulator keeps of a trace: about 400 MiB. */
export const TRACE_CELLS_MAX = 4_000_000;
/** Largest record a member believes from the store. */
export const STORE_VALUE_BYTES_MAX = 1 * MiB;

// --- management ------------------------------------------------------------------------------------------------

/** Body of one management request; the largest real one is under 300 bytes. */
export const MANAGE_BODY_BYTES_MAX = 64 * KiB;
/** Answer to one: the largest is what MEMBERS_MAX members have recorded, 0.8 MiB each at most. */
export const MANAGE_ANSWER_BYTES_MAX = 128 * MiB;
/** A management request that takes longer has failed, for the caller and for the server. */
export const MANAGE_REQUEST_DEADLINE_MS = 15_000;
/** Connections the management port accepts at once: more than a group has people and scripts, few of a process's files. */
export const MANAGE_CONNECTIONS_MAX = 128;
/** One that asks for nothing, or only begins to, is closed then: a client asks as soon as it is there, and once a second. */
export const MANAGE_IDLE_MS = 5_000;
/** A member that has not answered a question of the management process by then is shown as silent. */
export const QUERY_DEADLINE_MS = 2_000;
