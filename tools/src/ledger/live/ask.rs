//! Asks nodes about their ledgers, each over a connection of its own, until all have answered or the time is over.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use wire::audit::Question;
use wire::client::{Reply, Request};
use wire::committee::Committee;
use wire::frame::Scratch;
use wire::hosts::Hosts;
use wire::ids::NodeId;

use crate::client::{Connection, Happened, Readiness};

/// How long to wait for an answer before a question is repeated: nodes work it out beside their loops.
const REPEAT: Duration = Duration::from_millis(50);

/// A node that is asked.
struct Asked {
    node: NodeId,
    question: Question,
    connection: Connection,
    readiness: Readiness,
    answer: Option<Reply>,
}

/// The answers of the nodes that gave one.
pub(super) fn ask(
    committee: &Committee,
    hosts: &Hosts,
    questions: &BTreeMap<NodeId, Question>,
    patience: Duration,
) -> BTreeMap<NodeId, Reply> {
    let mut asked: Vec<Asked> = hosts
        .iter()
        .filter_map(|host| Some((host, *questions.get(&host.id)?)))
        .enumerate()
        .map(|(at, (host, question))| Asked {
            node: host.id,
            question,
            connection: Connection::new(committee, host, Token(at)),
            readiness: Readiness::Drained,
            answer: None,
        })
        .collect();
    if let Err(error) = ask_all(&mut asked, patience) {
        log::warn!("cannot wait for answers about ledgers: {error}");
    }
    asked.into_iter().filter_map(|asked| Some((asked.node, asked.answer?))).collect()
}

fn ask_all(asked: &mut [Asked], patience: Duration) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(asked.len().max(1));
    let mut scratch = Scratch::new();
    let began = Instant::now();
    let mut repeat = began;
    while asked.iter().any(|asked| asked.answer.is_none()) && began.elapsed() < patience {
        let now = Instant::now();
        let is_due = now >= repeat;
        for asked in asked.iter_mut().filter(|asked| asked.answer.is_none()) {
            let mut happened = Vec::new();
            asked.connection.tick(now, poll.registry(), &mut happened);
            if is_due {
                asked.connection.send(&Request::Ledger(asked.question), &[]);
                asked.connection.flush(&mut happened);
            }
            if asked.readiness == Readiness::More {
                asked.readiness = asked.connection.on_ready(&mut scratch, &mut happened);
            }
            asked.hear(happened);
        }
        if is_due {
            repeat = now + REPEAT;
        }
        let has_more = asked.iter().any(|asked| asked.readiness == Readiness::More);
        match poll.poll(&mut events, Some(if has_more { Duration::ZERO } else { REPEAT })) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        for event in &events {
            asked[event.token().0].readiness = Readiness::More;
        }
    }
    Ok(())
}

impl Asked {
    fn hear(&mut self, happened: Vec<Happened>) {
        for happened in happened {
            match happened {
                Happened::Up => self.connection.send(&Request::Ledger(self.question), &[]),
                Happened::Reply(Reply::LedgerSums(sums)) if sums.are_whole() => {
                    self.take(Question::Sums, Reply::LedgerSums(sums));
                }
                Happened::Reply(Reply::LedgerItems { question, height, items }) => {
                    self.take(question, Reply::LedgerItems { question, height, items });
                }
                Happened::Reply(_) | Happened::Down(_) => {}
            }
        }
    }

    fn take(&mut self, question: Question, reply: Reply) {
        if question == self.question {
            self.answer = Some(reply);
        }
    }
}
