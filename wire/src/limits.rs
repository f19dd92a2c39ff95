//! Every limit of the testbed, with its reason.
//!
//! Limits on which all nodes must agree are in `committee.txt` as well (see `committee::Protocol`). Those that a node
//! may choose are [`local`]; `--limits` sets them for a run. The rest are bounds on which nodes rely in each other, or
//! for which no other value makes sense.

pub mod local;

use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Most members of a shard. Node ids are 16 bits and cuts and certificates grow with N; 128 keeps a HALT under 64 KiB.
pub const NODES_PER_SHARD_MAX: u16 = 128;
/// Most nodes of a testbed: one send thread a peer must stay affordable.
pub const NODES_MAX: u16 = 1024;

/// Longest frame body: a proposal body, its header, and room for the rest of its message.
pub const FRAME_BYTES_MAX: u64 = 16 * MIB;
/// Longest piece of a body that travels in pieces: a sixth of a second of a link of 400 kB/s, for which a ping waits.
pub const PIECE_BYTES_MAX: u64 = 64 * KIB;
/// Longest payload of one lane entry: half a frame, so that two fit the smallest buffer sized in frames.
pub const PROPOSAL_BYTES_MAX: u64 = 8 * MIB;
/// Longest transaction: a tenth of what the smallest sensible batch holds; keeps one client from filling an entry.
pub const TRANSACTION_BYTES_MAX: u64 = 64 * KIB;

/// How long a handshake may take: three round trips of 600 ms fit well inside. Emulated links do not delay handshakes.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(3);
/// Most memory of a connection that is not authenticated yet.
pub const HANDSHAKE_BYTES_MAX: u64 = KIB;
/// Unfinished handshakes; a new one beyond this evicts a random one.
pub const HANDSHAKES_MAX: usize = 64;
/// The same per remote address (loopback exempt: all nodes of a local run share it).
pub const HANDSHAKES_PER_IP_MAX: usize = 8;
/// Connections accepted per second in a burst before the listener pauses.
pub const ACCEPTS_PER_S_MAX: u32 = 100;
/// The pause after a refused connection.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// How often a link is pinged, how long a ping may stay unanswered, and how many in a row may.
pub const PING_INTERVAL: Duration = Duration::from_secs(1);
/// See [`PING_INTERVAL`].
pub const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// See [`PING_INTERVAL`].
pub const PING_FAILURES_MAX: u32 = 5;
/// Frames of a listener between two pings to it that bring nothing new: acks of what is confirmed, and pongs. An honest
/// one sends a pong for each ping, even if its pings and ours are timed differently.
pub const LISTENER_CHATTER_MAX: u32 = 256;
/// How long a listener waits for bytes of a dialer: longer than a dialer that keeps the link stays silent.
pub const PEER_SILENCE_MAX: Duration =
    PING_INTERVAL.saturating_mul(PING_FAILURES_MAX).saturating_add(PING_TIMEOUT);

/// First pause before dialling again; doubles to [`DIAL_BACKOFF_MAX`].
pub const DIAL_BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest pause before dialling again.
pub const DIAL_BACKOFF_MAX: Duration = Duration::from_secs(10);
/// Jitter on the pause, so that a restarted cluster does not dial in step.
pub const DIAL_JITTER_PERCENT: u64 = 10;

/// How long an ack may wait for further frames to confirm: far below any resend, long enough that small frames cost
/// a hundred acks a second and not one each.
pub const ACK_DELAY: Duration = Duration::from_millis(10);
/// Bytes of unacknowledged frames that cause an ack at once, so that a fast link frees its outbox.
pub const ACK_BYTES_MAX: u64 = MIB;

/// Per peer, bytes queued and unconfirmed in `net_client`.
pub const OUTBOX_BYTES_MAX: u64 = 64 * MIB;

/// Rounds ahead of the current one whose messages are buffered.
pub const ROUNDS_AHEAD_MAX: u64 = 8;
/// Views ahead of the current one whose messages are buffered.
pub const VIEWS_AHEAD_MAX: u32 = 8;
/// Bytes of buffered early messages a peer; the oldest are kept, HALT repairs the rest.
pub const EARLY_BYTES_MAX: u64 = 32 * MIB;
/// Rounds that may be decided but not yet executed before a node stops giving input.
pub const ROUNDS_UNEXECUTED_MAX: u64 = 16;

/// Lane entries beyond the last decided cut that their owner may have open, unless a flag says otherwise.
pub const PIPELINE_DEFAULT: u64 = 8;
/// Bytes the owner of a lane may have open beyond the last decided cut.
pub const LANE_OPEN_BYTES_MAX: u64 = 32 * MIB;
/// Bytes of another's lane kept beyond the own last decided cut: twice what an honest owner may have open, since
/// the owner's cut may be ahead of ours.
pub const LANE_KEPT_BYTES_MAX: u64 = 2 * LANE_OPEN_BYTES_MAX;

/// Bytes of lost entries or parts that are sent again at once: one of the longest entries.
pub const RESEND_BURST_BYTES: u64 = PROPOSAL_BYTES_MAX;
/// Bytes sent again a second beyond that: a full window takes two seconds, and a link of 1 Gbit/s keeps room for new
/// messages even while seven peers need a window.
pub const RESEND_BYTES_PER_S: u64 = 16 * MIB;
/// Certificates that one message may request: those of two proposers' cuts in the largest shard.
pub const WANTS_PER_MESSAGE_MAX: usize = 2 * NODES_PER_SHARD_MAX as usize;

/// Entries of a lane that one request may name: few enough that several members share what one lane lacks, and enough
/// that requests are rare beside answers.
pub const RUN_ENTRIES_MAX: u64 = 16;
/// Unicast fetches in flight a requester; a third is dropped.
pub const FETCHES_IN_FLIGHT_MAX: usize = 2;
/// Pieces of a checkpoint of 256 KiB each: 4 GiB, more than a member can hold twice.
pub const CHECKPOINT_PIECES_MAX: usize = 16_384;
/// Decided rounds whose proofs, entries and parts are kept for members that lag, unless [`HISTORY_BYTES_MAX`] or
/// [`HALTS_BYTES_MAX`] is less.
pub const HISTORY_ROUNDS_MAX: u64 = 100_000;
/// Of kept proofs of decided rounds: at N = 4 those of 85,000 rounds, at N = 128 those of 3,500.
pub const HALTS_BYTES_MAX: usize = 64 << 20;
/// Of kept entries; parts take a quarter of it besides.
pub const HISTORY_BYTES_MAX: u64 = 2048 * MIB;

/// A segment of a journal; longer by one turn of the round loop at most. A file of this length is read in a tenth of a
/// second.
pub const SEGMENT_BYTES: u64 = 64 * MIB;
/// Of a journal after which a snapshot is due: a start does no more again than this and as much as arrives while the
/// snapshot is written, unless snapshots are longer than an eighth of it.
pub const SNAPSHOT_AFTER_BYTES: u64 = 256 * MIB;
/// Of a journal and its snapshots, kept for replays. What a start needs is kept in any case.
pub const JOURNAL_KEPT_BYTES: u64 = 4096 * MIB;

/// Inputs of one transaction.
pub const INPUTS_MAX: usize = 16;
/// Outputs of one transaction.
pub const OUTPUTS_MAX: usize = 16;
/// A transaction whose expiry is further ahead than this is passed over, which bounds the memory of transactions.
pub const EXPIRY_ROUNDS_AHEAD_MAX: u64 = 10_000;
/// Rounds after a transaction's expiry at which its traces are dropped.
pub const FORGET_ROUNDS_AFTER_EXPIRY: u64 = 8;

/// Longest group part: a quarter of a frame, so that fetching one delays other messages little.
pub const PART_BYTES_MAX: u64 = 4 * MIB;
/// Parts beyond the last executed one between two shards: those that are signed, kept early, or under way.
pub const PARTS_AHEAD_MAX: u64 = 64;
/// Bytes of parts under way to one shard beyond the last acknowledged one, which its members may have to store.
pub const PARTS_AHEAD_BYTES_MAX: u64 = 32 * MIB;
/// Ids of rejected transactions remembered a peer, the oldest forgotten first; requests bring them back.
pub const REJECTED_IDS_MAX: usize = 100_000;
/// Ids in one message of CL_M or CL, and cancels in one proposal.
pub const REJECTS_PER_MESSAGE_MAX: usize = 10_000;
/// Rounds for which an output shard without inputs remembers why it cancelled a transaction, for clients that repeat
/// their query; nothing else depends on it. Longer than clients wait before they do. Later its input shards report that
/// it can never execute. A finished transaction is remembered for as long as they bar it.
pub const CANCELLED_ROUNDS_KEPT: u64 = 2_000;
/// Coins in one query of a client.
pub const QUERY_COINS_MAX: usize = 10_000;
/// Items of a ledger in one answer: a 256th part of five million, some 2 MB.
pub const AUDIT_ITEMS_MAX: usize = 20_000;

/// Client connections of one `net_server`.
pub const CLIENTS_MAX: usize = 256;
/// The same of one remote address: four addresses fill all places. Loopback has a limit of its own, by default none,
/// since all clients of a local run share it.
pub const CLIENTS_PER_IP_MAX: usize = 64;
/// A connection that has sent no request for this long may be evicted by a new one, whatever else it sends: a client
/// connects because it wants something. With 100 accepts a second no crowd holds all places for so long.
pub const CLIENT_FIRST_REQUEST_TIME: Duration = Duration::from_secs(1);
/// A client that neither sent nor received anything for this long may be evicted by a new one.
pub const CLIENT_IDLE_EVICTABLE: Duration = Duration::from_secs(60);
/// Longest frame body of a client: a full submission of 250-byte transactions fits with room.
pub const CLIENT_FRAME_BYTES_MAX: u64 = 4 * MIB;
/// Unfinished frames up to this length need no permit: one for each client costs 16 MiB in all.
pub const CLIENT_FRAME_FREE_BYTES: u64 = 64 * KIB;
/// Longer unfinished frames of all clients together; further ones wait for a permit, unread. Anybody can be a client,
/// so this bounds the memory that strangers can occupy.
pub const CLIENTS_FRAME_BYTES_MAX: u64 = 16 * MIB;
/// How long a client may take to finish a long frame once it has a permit: 400 kB/s at least.
pub const CLIENT_FRAME_TIME: Duration = Duration::from_secs(10);
/// How long it may pause within that frame while others wait for a permit.
pub const CLIENT_FRAME_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of unread replies to one client: some eight full answers to the longest query. A client with more is closed.
pub const CLIENT_UNREAD_BYTES_MAX: u64 = 4 * MIB;
/// The same for all clients together; beyond it the client with the most is closed.
pub const CLIENTS_UNREAD_BYTES_MAX: u64 = 16 * MIB;
/// How often a node whose inbound queue lags hands its status to `net_server`, which answers clients with it for twice
/// as long. Each status counts all coins of the ledger, which costs a busy core some milliseconds.
pub const STATUS_EVERY: Duration = Duration::from_millis(500);
/// Bytes queued for the core at which `net_server` stops reading from clients.
pub const IPC_QUEUE_CLIENTS_BYTES_MAX: u64 = 4 * MIB;
/// Bytes queued for the core at which `net_server` stops reading from peers: later than from clients, since new
/// transactions are of no use to a core that cannot keep up. At twice as many it stops accepting connections.
pub const IPC_QUEUE_PEERS_BYTES_MAX: u64 = 16 * MIB;
/// Transactions in one submission.
pub const SUBMISSION_TRANSACTIONS_MAX: usize = 10_000;
/// Events that a subscriber may have granted: some megabyte of replies that it has not read.
pub const SUBSCRIPTION_EVENTS_MAX: u32 = 10_000;
/// Ids in one query of a client.
pub const QUERY_IDS_MAX: usize = 10_000;
/// Transactions a mempool holds.
pub const MEMPOOL_TRANSACTIONS_MAX: usize = 400_000;
/// Bytes of transactions a mempool holds.
pub const MEMPOOL_BYTES_MAX: u64 = 256 * MIB;
/// Share of the mempool that one client may fill, in percent.
pub const MEMPOOL_CLIENT_PERCENT_MAX: usize = 50;
/// The additional share for transactions that peers request, in percent of both limits, divided evenly among all nodes:
/// half of the load for which a mempool is made may be cross-shard and come from elsewhere.
pub const MEMPOOL_PEERS_PERCENT_MAX: usize = 50;
/// Longest list of transactions in one request to another shard: as long as a client's submission, so that it fits one
/// frame and delays other messages little.
pub const ORDER_BYTES_MAX: u64 = CLIENT_FRAME_BYTES_MAX;
/// Bytes from which a batch of copies of transactions is sent: worth its frame, and no delay to other messages.
pub const SHARE_BATCH_BYTES: u64 = 256 << 10;
/// Bytes of such copies that one member has not acknowledged: two seconds of [`SHARE_BYTES_PER_S`], so that a slow
/// answer does not slow the copies down.
pub const SHARE_WINDOW_BYTES: u64 = 2 * MIB;
/// Bytes of such copies that a member sends in a second, each batch counted once: what waits at 4,000 transactions a
/// second. Where a shard has more than it can carry, copies of all that waits would take a quarter of its processor
/// time from ordering it.
pub const SHARE_BYTES_PER_S: u64 = MIB;
