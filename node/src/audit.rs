//! Answers to questions about the whole ledger, worked out beside the round loop.
//!
//! The loop stops for a clone of the ledger, which shares all that is large with it until either changes (as a snapshot
//! does); a thread adds it up and leaves the answer here. A client repeats its question until the answer is there, so
//! nothing has to find its way back to a client that may be gone.
//!
//! # Security
//! Anybody can be a client. So there is one thread at most, which rests as long as it worked: at most half a core. An
//! answer serves everybody for as long as a client takes to come back for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bft::ledger::Ledger;
use wire::audit::Question;
use wire::bytes::Bytes;
use wire::client::Reply;
use wire::codec;
use wire::limits::AUDIT_ITEMS_MAX;

/// How long an answer serves: several times as long as clients wait before they repeat a question.
const AGE_MAX: Duration = Duration::from_millis(500);

/// The thread's work.
#[derive(Default)]
enum Work {
    #[default]
    None,
    Going,
    Done {
        question: Question,
        body: Bytes,
        at: Instant,
        /// When the next one may begin.
        rested: Instant,
    },
}

/// See the module.
#[derive(Default)]
pub(crate) struct Audits {
    work: Arc<Mutex<Work>>,
}

impl Audits {
    /// The answer, if it is there; otherwise it is worked out, unless another one is. `ledger` clones the ledger.
    pub(crate) fn answer(
        &mut self,
        question: Question,
        ledger: impl FnOnce() -> Option<Ledger>,
    ) -> Option<Bytes> {
        let now = Instant::now();
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        match &*work {
            Work::Going => return None,
            Work::Done { question: answered, body, at, .. }
                if *answered == question && now < *at + AGE_MAX =>
            {
                return Some(body.clone());
            }
            Work::Done { rested, .. } if now < *rested => return None,
            Work::Done { .. } | Work::None => {}
        }
        let Some(ledger) = ledger() else {
            return Some(encode(&Reply::Error("a question about a ledger, and there is none".into())));
        };
        let place = self.work.clone();
        let job = move || {
            let body = encode(&work_out(question, &ledger));
            // It shares memory with the loop's, which copies what it changes meanwhile.
            drop(ledger);
            let at = Instant::now();
            let rested = at + (at - now);
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Work::Done { question, body, at, rested };
        };
        match thread::Builder::new().name("audit".into()).spawn(job) {
            Ok(_) => *work = Work::Going,
            Err(error) => log::warn!("cannot start a thread to add up the ledger: {error}"),
        }
        None
    }
}

fn work_out(question: Question, ledger: &Ledger) -> Reply {
    match question {
        Question::Sums => Reply::LedgerSums(Box::new(ledger.sums())),
        Question::Items { section, bucket } => {
            let items = ledger.items_of(section, bucket).into_iter().take(AUDIT_ITEMS_MAX);
            let items = items.map(|item| item.encode()).collect();
            Reply::LedgerItems { question, height: ledger.height(), items }
        }
    }
}

fn encode(reply: &Reply) -> Bytes {
    Bytes::from(codec::encode(reply))
}

#[cfg(test)]
mod tests {
    use bft::crypto::hash_suite::HashSuite;
    use bft::member::Member;
    use bft::proposal::Rules;
    use wire::audit::Section;
    use wire::committee::{Committee, Member as Keys, Protocol};
    use wire::ids::NodeId;

    use super::*;

    fn ledger() -> Ledger {
        let keys = Keys { public_key: [1; 32], coin_commitment: [2; 32] };
        let protocol = Protocol { genesis_coins: 300, ..Protocol::default() };
        let committee = Arc::new(Committee::new(1, protocol, vec![keys], [3; 32]));
        let suite = Arc::new(HashSuite::new(&committee, NodeId(0), 7));
        Ledger::genesis(Arc::new(Rules::new(&Member::new(committee, suite, NodeId(0)))), 7)
    }

    /// Repeats a question; the answer, and how many clones of the ledger it took.
    fn ask(audits: &mut Audits, question: Question) -> (Reply, u32) {
        let (mut clones, began) = (0, Instant::now());
        while began.elapsed() < Duration::from_secs(10) {
            let answer = audits.answer(question, || {
                clones += 1;
                Some(ledger())
            });
            if let Some(body) = answer {
                return (codec::decode(&body).expect("a reply"), clones);
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("no answer to {question:?}")
    }

    #[test]
    fn a_repeated_question_is_answered_and_costs_one_clone() {
        let mut audits = Audits::default();
        let (reply, clones) = ask(&mut audits, Question::Sums);
        assert_eq!((reply, clones), (Reply::LedgerSums(Box::new(ledger().sums())), 1));
        assert_eq!(ask(&mut audits, Question::Sums).1, 0, "the answer serves the next client too");
        let question = Question::Items { section: Section::Coins, bucket: 0x80 };
        let (Reply::LedgerItems { items, .. }, 1) = ask(&mut audits, question) else { panic!("no items") };
        assert!(!items.is_empty(), "300 coins have some in each of the greater buckets");
        let expected: Vec<Vec<u8>> =
            ledger().items_of(Section::Coins, 0x80).iter().map(|item| item.encode()).collect();
        assert_eq!(items, expected);
    }

    #[test]
    fn a_flood_of_questions_costs_one_thread_that_rests() {
        let mut audits = Audits::default();
        let pool = Question::Items { section: Section::Pool, bucket: 0 };
        let refused = || -> Option<Ledger> { panic!("no ledger may be cloned now") };
        *audits.work.lock().unwrap() = Work::Going;
        assert_eq!(audits.answer(pool, refused), None, "one at a time");
        let now = Instant::now();
        let (body, rested) = (Bytes::from(vec![1]), now + Duration::from_secs(3600));
        *audits.work.lock().unwrap() =
            Work::Done { question: Question::Sums, body: body.clone(), at: now, rested };
        assert_eq!(audits.answer(pool, refused), None, "it rests");
        assert_eq!(audits.answer(Question::Sums, refused), Some(body));
        if let Work::Done { rested, .. } = &mut *audits.work.lock().unwrap() {
            *rested = now;
        }
        assert!(matches!(ask(&mut audits, pool), (Reply::LedgerItems { .. }, 1)));
    }
}
