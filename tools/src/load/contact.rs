//! Whether the node that transactions were handed to answers, and when to ask for their fates elsewhere.
//!
//! What decides is the stream of what comes from the node: receipts, statuses, pongs, anything at all. A node that is
//! paused, cut off or dead sends nothing. A node that is merely slow sends something all the time: `net_server` answers
//! pings without the core, and its core sends refusals and receipts. So a contact is *silent* once nothing has come
//! from it for the time of patience although a transaction waits there and it was pinged meanwhile.
//!
//! A core can hang behind a `net_server` that answers, or be cut off from the other members. So a contact counts as
//! silent, too, once it has sent no receipt for [`RECEIPTLESS`] times the patience while other members do.
//!
//! Latency alone never makes one silent: where all nodes are slow, handing everything on would only double the load. A
//! testbed far beyond its limit reads its clients so late that pongs take seconds, too. So the time counts only while
//! most other members of the shard do better. It counts while the load runs: a load that was stopped itself has heard
//! nobody, and that is nobody's silence. And a contact that comes back at once was slow and not away: its next silence
//! must last twice as long. So a contact whose answers take seconds has its transactions handed on a few times in all.

use std::fmt;
use std::time::Duration;

/// A contact is pinged after the patience divided by this without a word, and again after as long.
const PING_DIVISOR: u32 = 4;
/// New transactions go to others after the patience divided by this without a word, pings included.
const WARY_DIVISOR: u32 = 2;
/// How many times the patience a contact may go without a receipt while others send some.
const RECEIPTLESS: u32 = 4;
/// The patience grows to so many times what it was.
const PATIENCE_GROWTH_MAX: u32 = 8;
/// Longest step of the clock that counts: if a turn took longer, the load itself stood still.
const STEP_MAX: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Contact {
    patience: Duration,
    patience_max: Duration,
    /// How long nothing has come although something waits.
    quiet: Duration,
    /// Of that, how long most others answered.
    mute: Duration,
    /// How long no receipt has come although something waits.
    receiptless: Duration,
    /// Of that, how long most others sent some.
    stuck: Duration,
    since_ping: Duration,
    /// For how long it has been silent, and for which reason, if it is.
    silent: Option<(Silence, Duration)>,
}

/// The reason why a contact counts as silent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Silence {
    /// Nothing comes from it.
    Nothing,
    /// It answers, but no receipts come.
    NoReceipts,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Silence::Nothing => "nothing comes from it",
            Silence::NoReceipts => "it sends no receipts",
        })
    }
}

/// What happened at a contact since the last turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// How long ago that was.
    pub(crate) elapsed: Duration,
    /// Whether anything came.
    pub(crate) heard: bool,
    /// Whether a receipt came.
    pub(crate) receipts: bool,
    /// Whether a transaction waits there.
    pub(crate) waits: bool,
    /// What the other members of its shard do.
    pub(crate) others: Others,
}

/// What most other members of a shard do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Others {
    /// They cannot be relied on.
    None,
    /// They answer.
    Answer,
    /// They send receipts.
    Deliver,
}

/// What to do with a contact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Advice {
    Nothing,
    Ping,
    /// It has become silent.
    HandOn(Silence),
    /// It answers again.
    Back,
}

impl Contact {
    /// One that is heard of now. A patience of zero never ends.
    pub(crate) fn new(patience: Duration) -> Contact {
        Contact {
            patience,
            patience_max: patience * PATIENCE_GROWTH_MAX,
            quiet: Duration::ZERO,
            mute: Duration::ZERO,
            receiptless: Duration::ZERO,
            stuck: Duration::ZERO,
            since_ping: Duration::ZERO,
            silent: None,
        }
    }

    /// Takes a turn.
    pub(crate) fn turn(&mut self, turn: Turn) -> Advice {
        if self.patience.is_zero() {
            return Advice::Nothing;
        }
        let elapsed = turn.elapsed.min(STEP_MAX);
        self.since_ping += elapsed;
        let is_watched = turn.waits || self.silent.is_some();
        for (time, ended, others) in [
            (&mut self.quiet, turn.heard, Others::None),
            (&mut self.mute, turn.heard, Others::Answer),
            (&mut self.receiptless, turn.receipts, Others::None),
            (&mut self.stuck, turn.receipts, Others::Deliver),
        ] {
            if ended || !is_watched {
                *time = Duration::ZERO;
            } else if turn.others >= others {
                *time += elapsed;
            }
        }
        if let Some((silence, lasted)) = &mut self.silent {
            *lasted += elapsed;
            let (silence, lasted) = (*silence, *lasted);
            let is_back = match silence {
                Silence::Nothing => turn.heard,
                Silence::NoReceipts => turn.receipts,
            };
            if is_back {
                self.come_back(lasted);
                return Advice::Back;
            }
        } else if let Some(silence) = self.silence() {
            self.silent = Some((silence, Duration::ZERO));
            return Advice::HandOn(silence);
        }
        let is_ping_due = self.quiet.min(self.since_ping) >= self.patience / PING_DIVISOR;
        if is_ping_due {
            self.since_ping = Duration::ZERO;
            return Advice::Ping;
        }
        Advice::Nothing
    }

    /// A new connection to it is up: whatever it kept is asked for again.
    pub(crate) fn connected_anew(&mut self) {
        *self = Contact { patience_max: self.patience_max, ..Contact::new(self.patience) };
    }

    /// Whether what is open there is to be asked for elsewhere.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent.is_some()
    }

    /// Whether new transactions should rather go to others.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.is_silent() || !self.patience.is_zero() && self.quiet >= self.patience / WARY_DIVISOR
    }

    /// How far others can rely on it.
    pub(crate) fn reliance(&self) -> Others {
        if self.is_doubtful() {
            Others::None
        } else if self.receiptless < self.patience {
            Others::Deliver
        } else {
            Others::Answer
        }
    }

    fn silence(&self) -> Option<Silence> {
        match (self.mute >= self.patience, self.stuck >= self.patience * RECEIPTLESS) {
            (true, _) => Some(Silence::Nothing),
            (false, true) => Some(Silence::NoReceipts),
            (false, false) => None,
        }
    }

    fn come_back(&mut self, lasted: Duration) {
        if lasted < self.patience {
            self.patience = (self.patience * 2).min(self.patience_max);
        }
        self.connected_anew();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);
    /// A millisecond at a contact where something waits, while other members send receipts.
    const WAITING: Turn =
        Turn { elapsed: MS, heard: false, receipts: false, waits: true, others: Others::Deliver };
    const RECEIPT: Turn = Turn { heard: true, receipts: true, ..WAITING };
    const PONG: Turn = Turn { heard: true, ..WAITING };

    /// What a contact is advised in so many milliseconds, with the millisecond.
    fn advice(contact: &mut Contact, count: u64, turn: impl Fn(u64) -> Turn) -> Vec<(u64, Advice)> {
        let all = (1..=count).map(|ms| (ms, contact.turn(turn(ms))));
        all.filter(|(_, advice)| *advice != Advice::Nothing).collect()
    }

    #[test]
    fn a_second_without_a_word_is_silence_and_pings_come_before() {
        let mut contact = Contact::new(SECOND);
        let expected = [
            (250, Advice::Ping),
            (500, Advice::Ping),
            (750, Advice::Ping),
            (1_000, Advice::HandOn(Silence::Nothing)),
        ];
        assert_eq!(advice(&mut contact, 1_000, |_| WAITING), expected);
        assert!(contact.is_silent() && contact.reliance() == Others::None);
        // It is probed for as long as it takes, though nothing waits there any more, and is back at its first word.
        let alone = Turn { waits: false, ..WAITING };
        let probed = advice(&mut contact, 10_000, |_| alone);
        assert!(probed.iter().all(|(_, advice)| *advice == Advice::Ping) && probed.len() >= 39, "{probed:?}");
        assert_eq!(contact.turn(PONG), Advice::Back);
        assert!(!contact.is_doubtful());
    }

    #[test]
    fn new_transactions_go_elsewhere_before_old_ones_do() {
        let mut contact = Contact::new(SECOND);
        advice(&mut contact, 499, |_| WAITING);
        assert!(!contact.is_doubtful());
        contact.turn(WAITING);
        assert!(contact.is_doubtful() && !contact.is_silent());
        contact.turn(PONG);
        assert!(!contact.is_doubtful());
    }

    #[test]
    fn an_overloaded_contact_that_answers_pings_is_not_silent() {
        let mut contact = Contact::new(SECOND);
        // It answers each ping after 600 ms, and sends a receipt every three seconds.
        let slow = |ms: u64| match ms % 3_000 {
            0 => RECEIPT,
            turn if turn.is_multiple_of(850) => PONG,
            _ => WAITING,
        };
        let all = advice(&mut contact, 60_000, slow);
        assert!(all.iter().all(|(_, advice)| *advice == Advice::Ping), "{all:?}");
    }

    #[test]
    fn a_contact_that_answers_and_delivers_nothing_is_silent_where_others_deliver() {
        let pongs = |others| move |ms: u64| Turn { heard: ms.is_multiple_of(100), others, ..WAITING };
        let mut contact = Contact::new(SECOND);
        let all = advice(&mut contact, 4_000, pongs(Others::Deliver));
        assert_eq!(all, [(4_000, Advice::HandOn(Silence::NoReceipts))]);
        assert_eq!(contact.turn(PONG), Advice::Nothing, "answers are not what was missing");
        assert_eq!(contact.turn(RECEIPT), Advice::Back);
        // Where the whole shard stands still, nobody is better than this one.
        let mut contact = Contact::new(SECOND);
        assert_eq!(advice(&mut contact, 60_000, pongs(Others::Answer)), []);
        assert_eq!(contact.reliance(), Others::Answer);
    }

    #[test]
    fn nobody_is_silent_where_most_others_are_or_nothing_waits() {
        let mut contact = Contact::new(SECOND);
        let all = advice(&mut contact, 5_000, |_| Turn { others: Others::None, ..WAITING });
        assert!(all.iter().all(|(_, advice)| *advice == Advice::Ping), "{all:?}");
        let from_now = advice(&mut contact, 1_000, |_| WAITING);
        assert_eq!(from_now.last(), Some(&(1_000, Advice::HandOn(Silence::Nothing))), "now they do");
        let mut contact = Contact::new(SECOND);
        assert_eq!(advice(&mut contact, 5_000, |_| Turn { waits: false, ..WAITING }), []);
    }

    #[test]
    fn where_all_answer_late_nobody_is_handed_on() {
        let mut contact = Contact::new(SECOND);
        // Each word takes three seconds, and others can be relied on for half a second after each of theirs.
        let late = |ms: u64| Turn {
            heard: ms.is_multiple_of(3_000),
            receipts: ms.is_multiple_of(3_000),
            others: if (ms + 700) % 3_000 < 500 { Others::Deliver } else { Others::None },
            ..WAITING
        };
        let all = advice(&mut contact, 60_000, late);
        assert!(all.iter().all(|(_, advice)| *advice == Advice::Ping), "{all:?}");
    }

    #[test]
    fn a_load_that_stood_still_has_heard_nobody() {
        let mut contact = Contact::new(SECOND);
        advice(&mut contact, 300, |_| WAITING);
        assert_eq!(contact.turn(Turn { elapsed: 60 * SECOND, ..WAITING }), Advice::Nothing);
        assert!(!contact.is_doubtful(), "a tenth of a second counts");
    }

    #[test]
    fn a_contact_that_was_only_slow_gets_more_patience() {
        let mut contact = Contact::new(SECOND);
        let mut waits = Vec::new();
        for _ in 0..6 {
            let silent = advice(&mut contact, 20_000, |_| WAITING)
                .into_iter()
                .find(|(_, advice)| matches!(advice, Advice::HandOn(_)));
            waits.push(silent.unwrap().0);
            // Undo what the rest of the twenty seconds has done, and come back half a second after the silence.
            contact.silent = Some((Silence::Nothing, SECOND / 2));
            assert_eq!(contact.turn(RECEIPT), Advice::Back);
        }
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
        let mut contact = Contact::new(SECOND);
        advice(&mut contact, 12_000, |_| WAITING);
        contact.turn(RECEIPT);
        assert_eq!(contact.patience, SECOND, "it was really away");
    }

    #[test]
    fn a_patience_of_zero_never_ends() {
        let mut contact = Contact::new(Duration::ZERO);
        assert_eq!(advice(&mut contact, 60_000, |_| WAITING), []);
        assert!(!contact.is_doubtful());
    }
}
