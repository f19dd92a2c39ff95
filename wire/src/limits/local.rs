//! Limits that each node may choose, by name. They concern memory and waiting times, never validity.
//!
//! `--limits NAME=VALUE,…` sets them for a run. Every process of a node gets the same list.

use std::collections::BTreeMap;

use super::{
    ACCEPTS_PER_S_MAX, ACK_DELAY, CLIENT_FRAME_BYTES_MAX, CLIENT_IDLE_EVICTABLE, CLIENT_UNREAD_BYTES_MAX,
    CLIENTS_FRAME_BYTES_MAX, CLIENTS_MAX, CLIENTS_PER_IP_MAX, CLIENTS_UNREAD_BYTES_MAX, DIAL_BACKOFF_MAX,
    DIAL_BACKOFF_MIN, FRAME_BYTES_MAX, HANDSHAKE_TIME, HANDSHAKES_MAX, HANDSHAKES_PER_IP_MAX,
    HISTORY_ROUNDS_MAX, IPC_QUEUE_CLIENTS_BYTES_MAX, IPC_QUEUE_PEERS_BYTES_MAX, JOURNAL_KEPT_BYTES,
    LANE_OPEN_BYTES_MAX, MEMPOOL_BYTES_MAX, MEMPOOL_CLIENT_PERCENT_MAX, MEMPOOL_PEERS_PERCENT_MAX,
    MEMPOOL_TRANSACTIONS_MAX, OUTBOX_BYTES_MAX, PEER_SILENCE_MAX, PING_INTERVAL, PING_TIMEOUT,
    PROPOSAL_BYTES_MAX, SEGMENT_BYTES, SNAPSHOT_AFTER_BYTES,
};
use crate::nearest;
use crate::text::ParseError;

/// The name of a limit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Local {
    /// See [`MEMPOOL_TRANSACTIONS_MAX`].
    MempoolTransactions,
    /// See [`MEMPOOL_BYTES_MAX`].
    MempoolBytes,
    /// See [`MEMPOOL_CLIENT_PERCENT_MAX`].
    MempoolClientPercent,
    /// See [`MEMPOOL_PEERS_PERCENT_MAX`].
    MempoolPeersPercent,
    /// See [`LANE_OPEN_BYTES_MAX`]; twice as much is kept of others' lanes.
    LaneOpenBytes,
    /// See [`HISTORY_ROUNDS_MAX`]; of entries, proofs and parts.
    HistoryRounds,
    /// See [`OUTBOX_BYTES_MAX`].
    OutboxBytes,
    /// See [`PING_INTERVAL`]; counters are reported as often.
    PingIntervalMs,
    /// See [`PING_TIMEOUT`].
    PingTimeoutMs,
    /// See [`DIAL_BACKOFF_MAX`].
    DialBackoffMs,
    /// See [`HANDSHAKE_TIME`]; of nodes among each other, and for clients at the listener.
    HandshakeTimeMs,
    /// See [`HANDSHAKES_MAX`].
    Handshakes,
    /// See [`HANDSHAKES_PER_IP_MAX`].
    HandshakesPerIp,
    /// See [`ACCEPTS_PER_S_MAX`].
    AcceptsPerS,
    /// See [`CLIENTS_MAX`].
    Clients,
    /// See [`CLIENTS_PER_IP_MAX`].
    ClientsPerIp,
    /// Client connections of one loopback address; unlimited by default.
    ClientsPerLoopback,
    /// See [`CLIENT_IDLE_EVICTABLE`].
    ClientIdleMs,
    /// See [`CLIENT_UNREAD_BYTES_MAX`].
    ClientUnreadBytes,
    /// See [`CLIENTS_UNREAD_BYTES_MAX`].
    ClientsUnreadBytes,
    /// See [`CLIENTS_FRAME_BYTES_MAX`].
    ClientsFrameBytes,
    /// See [`IPC_QUEUE_CLIENTS_BYTES_MAX`].
    QueueClientsBytes,
    /// See [`IPC_QUEUE_PEERS_BYTES_MAX`].
    QueuePeersBytes,
    /// Bytes a second that each peer may send; unlimited by default.
    PeerBytesPerS,
    /// See [`PEER_SILENCE_MAX`].
    PeerSilenceMs,
    /// See [`ACK_DELAY`].
    AckDelayMs,
    /// See [`SEGMENT_BYTES`].
    SegmentBytes,
    /// See [`SNAPSHOT_AFTER_BYTES`].
    SnapshotAfterBytes,
    /// See [`JOURNAL_KEPT_BYTES`].
    JournalKeptBytes,
}

/// A limit with its name, default and range.
struct Row {
    limit: Local,
    name: &'static str,
    default: u64,
    least: u64,
    most: u64,
}

const fn row(limit: Local, name: &'static str, default: u64, least: u64, most: u64) -> Row {
    Row { limit, name, default, least, most }
}

const fn ms(duration: std::time::Duration) -> u64 {
    duration.as_millis() as u64
}

const DAY_MS: u64 = 24 * 3_600_000;
const GIB: u64 = 1 << 30;
const COUNT: u64 = 1_000_000;

/// All limits, in the order of [`Local`].
const ROWS: [Row; 29] = [
    row(Local::MempoolTransactions, "mempool-transactions", MEMPOOL_TRANSACTIONS_MAX as u64, 1, 100 * COUNT),
    row(Local::MempoolBytes, "mempool-bytes", MEMPOOL_BYTES_MAX, 1 << 16, 64 * GIB),
    row(Local::MempoolClientPercent, "mempool-client-percent", MEMPOOL_CLIENT_PERCENT_MAX as u64, 1, 100),
    row(Local::MempoolPeersPercent, "mempool-peers-percent", MEMPOOL_PEERS_PERCENT_MAX as u64, 1, 100),
    row(Local::LaneOpenBytes, "lane-open-bytes", LANE_OPEN_BYTES_MAX, PROPOSAL_BYTES_MAX, GIB),
    row(Local::HistoryRounds, "history-rounds", HISTORY_ROUNDS_MAX, 1, 100 * COUNT),
    row(Local::OutboxBytes, "outbox-bytes", OUTBOX_BYTES_MAX, FRAME_BYTES_MAX, 64 * GIB),
    row(Local::PingIntervalMs, "ping-interval-ms", ms(PING_INTERVAL), 10, DAY_MS),
    row(Local::PingTimeoutMs, "ping-timeout-ms", ms(PING_TIMEOUT), 10, DAY_MS),
    row(Local::DialBackoffMs, "dial-backoff-ms", ms(DIAL_BACKOFF_MAX), ms(DIAL_BACKOFF_MIN), DAY_MS),
    row(Local::HandshakeTimeMs, "handshake-time-ms", ms(HANDSHAKE_TIME), 1, DAY_MS),
    row(Local::Handshakes, "handshakes", HANDSHAKES_MAX as u64, 1, COUNT),
    row(Local::HandshakesPerIp, "handshakes-per-ip", HANDSHAKES_PER_IP_MAX as u64, 1, COUNT),
    row(Local::AcceptsPerS, "accepts-per-s", ACCEPTS_PER_S_MAX as u64, 1, COUNT),
    row(Local::Clients, "clients", CLIENTS_MAX as u64, 1, COUNT),
    row(Local::ClientsPerIp, "clients-per-ip", CLIENTS_PER_IP_MAX as u64, 1, COUNT),
    row(Local::ClientsPerLoopback, "clients-per-loopback", u64::MAX, 1, u64::MAX),
    row(Local::ClientIdleMs, "client-idle-ms", ms(CLIENT_IDLE_EVICTABLE), 1, DAY_MS),
    row(Local::ClientUnreadBytes, "client-unread-bytes", CLIENT_UNREAD_BYTES_MAX, 1 << 16, GIB),
    row(Local::ClientsUnreadBytes, "clients-unread-bytes", CLIENTS_UNREAD_BYTES_MAX, 1 << 16, 64 * GIB),
    row(
        Local::ClientsFrameBytes,
        "clients-frame-bytes",
        CLIENTS_FRAME_BYTES_MAX,
        CLIENT_FRAME_BYTES_MAX,
        64 * GIB,
    ),
    row(Local::QueueClientsBytes, "queue-clients-bytes", IPC_QUEUE_CLIENTS_BYTES_MAX, 1 << 16, GIB),
    row(Local::QueuePeersBytes, "queue-peers-bytes", IPC_QUEUE_PEERS_BYTES_MAX, 1 << 16, GIB),
    row(Local::PeerBytesPerS, "peer-bytes-per-s", u64::MAX, 1, u64::MAX),
    row(Local::PeerSilenceMs, "peer-silence-ms", ms(PEER_SILENCE_MAX), 1, DAY_MS),
    row(Local::AckDelayMs, "ack-delay-ms", ms(ACK_DELAY), 1, 1_000),
    row(Local::SegmentBytes, "segment-bytes", SEGMENT_BYTES, 1 << 16, 16 * GIB),
    row(Local::SnapshotAfterBytes, "snapshot-after-bytes", SNAPSHOT_AFTER_BYTES, 1 << 16, 1024 * GIB),
    row(Local::JournalKeptBytes, "journal-kept-bytes", JOURNAL_KEPT_BYTES, 0, 1024 * GIB),
];

/// The limits of a node: the given ones, and the defaults of the others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LocalLimits {
    given: BTreeMap<Local, u64>,
}

impl LocalLimits {
    /// The shape of a list, for usage texts.
    pub const SHAPE: &str = "NAME=VALUE,…";

    /// Reads `NAME=VALUE,…`, each name at most once.
    ///
    /// # Errors
    /// Names the item that is wrong.
    pub fn parse(text: &str) -> Result<LocalLimits, ParseError> {
        let mut limits = LocalLimits::default();
        for item in text.split(',') {
            let Some((name, value)) = item.split_once('=') else {
                return Err(ParseError::of("--limits", item, LocalLimits::SHAPE));
            };
            let Some(row) = ROWS.iter().find(|row| row.name == name) else {
                let names = ROWS.map(|row| row.name);
                let expected = format!("one of {}{}", names.join(", "), nearest::hint(name, &names));
                return Err(ParseError::of("--limits", name, expected));
            };
            let lawful = value.parse().ok().filter(|value| (row.least..=row.most).contains(value));
            let Some(number) = lawful else {
                let expected = format!("a whole number from {} to {}", row.least, row.most);
                return Err(ParseError::of(&format!("--limits {name}"), value, expected));
            };
            if limits.given.insert(row.limit, number).is_some() {
                return Err(ParseError::of("--limits", &format!("{name} twice"), "each name once"));
            }
        }
        limits.check()?;
        Ok(limits)
    }

    /// The limits that a command line gives, if it gives any.
    ///
    /// # Errors
    /// As [`LocalLimits::parse`].
    pub fn of(text: Option<&str>) -> Result<LocalLimits, ParseError> {
        text.map(LocalLimits::parse).transpose().map(Option::unwrap_or_default)
    }

    /// Checks limits that only make sense in one order.
    fn check(&self) -> Result<(), ParseError> {
        for (less, more) in [
            // An idle link is kept alive by its pings.
            (Local::PingIntervalMs, Local::PeerSilenceMs),
            // New transactions are of no use to a core that cannot keep up.
            (Local::QueueClientsBytes, Local::QueuePeersBytes),
        ] {
            if self.get(less) >= self.get(more) {
                let (less_name, more_name) = (ROWS[less as usize].name, ROWS[more as usize].name);
                let expected = format!("less than {more_name}, which is {}", self.get(more));
                let place = format!("--limits {less_name}");
                return Err(ParseError::of(&place, &self.get(less).to_string(), expected));
            }
        }
        Ok(())
    }

    /// The value of a limit.
    pub fn get(&self, limit: Local) -> u64 {
        self.given.get(&limit).copied().unwrap_or(ROWS[limit as usize].default)
    }

    /// The value of a limit in milliseconds.
    pub fn time(&self, limit: Local) -> std::time::Duration {
        std::time::Duration::from_millis(self.get(limit))
    }

    /// The value of a limit that counts items in memory.
    pub fn count(&self, limit: Local) -> usize {
        usize::try_from(self.get(limit)).unwrap_or(usize::MAX)
    }

    /// The given limits in the form that [`LocalLimits::parse`] reads; `None` if there are none.
    pub fn text(&self) -> Option<String> {
        let items = self.given.iter().map(|(limit, value)| format!("{}={value}", ROWS[*limit as usize].name));
        let items: Vec<String> = items.collect();
        (!items.is_empty()).then(|| items.join(","))
    }
}

/// A line a limit: its name, its default, and the values that it may have.
pub fn help() -> String {
    let line = |row: &Row| {
        let Row { name, default, least, most, .. } = row;
        let default = if *default == u64::MAX { "no limit".into() } else { default.to_string() };
        let to = if *most == u64::MAX { String::new() } else { format!(" to {most}") };
        format!("{name:<23} {default}, from {least}{to}")
    };
    ROWS.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_the_limits_and_allow_their_defaults() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.limit as usize, index, "{}", row.name);
            assert!((row.least..=row.most).contains(&row.default), "{}", row.name);
            let given = LocalLimits::parse(&format!("{}={}", row.name, row.default)).unwrap();
            assert_eq!(given.get(row.limit), row.default);
            assert_eq!(LocalLimits::default().get(row.limit), row.default);
        }
    }

    #[test]
    fn given_limits_round_trip() {
        let limits = LocalLimits::parse("clients=3,outbox-bytes=20000000").unwrap();
        assert_eq!((limits.count(Local::Clients), limits.get(Local::OutboxBytes)), (3, 20_000_000));
        assert_eq!(LocalLimits::parse(&limits.text().unwrap()), Ok(limits));
        assert_eq!(LocalLimits::default().text(), None);
    }

    #[test]
    fn wrong_items_are_named() {
        for (text, expected) in [
            ("", "--limits: found '', expected NAME=VALUE,…"),
            ("clients", "--limits: found 'clients', expected NAME=VALUE,…"),
            ("client=3", "--limits: found 'client', expected one of mempool-transactions, "),
            ("clients=0", "--limits clients: found '0', expected a whole number from 1 to 1000000"),
            ("clients=many", "--limits clients: found 'many', expected a whole number"),
            (
                "ping-interval-ms=20000",
                "--limits ping-interval-ms: found '20000', expected less than peer-silence-ms, which is",
            ),
            (
                "queue-peers-bytes=65536",
                "--limits queue-clients-bytes: found '4194304', expected less than queue-peers-bytes",
            ),
            ("clients=3,clients=3", "--limits: found 'clients twice', expected each name once"),
        ] {
            let error = LocalLimits::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
