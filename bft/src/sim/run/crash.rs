//! Crashes of members with a journal, and their restarts: each gets back what a node would find on its disk, by the
//! code with which a node reads it.
//!
//! A restart may be interrupted by another crash. After it, the core learns what a node tells its core: clients and
//! peers of the last start are gone, the children are new. What was under way to the member is lost, its peers connect
//! again. A member whose disk was harmed, or that could have lost what it signed, refuses to start and stays away; one
//! that refuses without such a reason is a violation.

use ::wire::ids::NodeId;
use ::wire::record::Item;

use crate::core::Core;
use crate::event::{Effect, Event};
use crate::journal::{Durability, Opening, Past, Replay, Sessions, SnapshotHead, Start};
use crate::mutant::{Mutant, in_force};
use crate::sim::checker::Violation;
use crate::sim::disk::{Found, Harm, Loss};
use crate::sim::parcel::Parcel;
use crate::sim::plan::{Cause, Exposure, Fall, Trouble};
use crate::sim::run::journal::{Journal, Standing};
use crate::sim::run::{Happening, Node, Ran, Simulation};
use crate::sim::trace;
use crate::time::Span;
use crate::trace::Tracing;

/// Longest time until a start that was interrupted is tried again.
const AGAIN_MAX: Span = Span::from_ms(100);

/// How far a start comes before it is interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Interrupted {
    Never,
    /// The journal was read, and nothing changed.
    Reading,
    /// The unfinished tail is cut off.
    CutOff,
    /// Of the new segment there is a part of the opening.
    Opening,
}

/// What a start leads to.
enum Started {
    /// The member goes on.
    Up(Box<Core>, Sessions),
    /// It has crashed again.
    Interrupted,
    /// It may not sign any more.
    Refused(String),
}

impl Simulation<'_> {
    /// Members are to crash: at once, or when they reach a point.
    pub(super) fn fall(&mut self, falls: Vec<Fall>) -> Ran {
        for fall in falls {
            let Some(journal) = self.journals.get_mut(&fall.node) else { continue };
            if journal.standing != Standing::Up {
                continue;
            }
            if journal.reaches(fall.point) {
                journal.armed = Some(fall);
            } else {
                self.crash(&fall)?;
            }
        }
        Ok(())
    }

    /// A member crashes, and will be started again.
    pub(super) fn crash(&mut self, fall: &Fall) -> Ran {
        let node = fall.node;
        let journal = self.journals.get_mut(&node).expect("only members with a journal are started again");
        journal.stop();
        journal.suffer(fall.cause, fall.exposure);
        self.count(fall.point.name());
        self.net.lose(|frame| frame.to == node);
        self.take_down(node);
        let head = trace::head(self.now, &format!("n{node}"));
        self.trace.write(|| format!("{head} CRASHED: {fall:?}"));
        self.net.schedule(self.now + fall.down, Happening::Trouble(Trouble::Restart(node)));
        Ok(())
    }

    fn count(&mut self, what: &'static str) {
        *self.crashes.entry(what).or_default() += 1;
    }

    /// A member ends, with everything in its processes.
    pub(super) fn take_down(&mut self, node: NodeId) {
        *self.node_mut(node) = Node::Crashed;
        self.wakeups.remove(&(node, 0));
        self.decided.remove(&node);
        self.checker.on_crash(node);
        // What it had signed without sending it.
        self.verified[&node].take_signed();
        let prng = &mut self.prng;
        self.net.lose(|frame| frame.from == node && prng.chance(1, 2));
        self.notify_peers(node, |peer| Event::PeerDown { peer });
    }

    /// A member is started again, which may be interrupted.
    pub(super) fn restart(&mut self, node: NodeId) -> Ran {
        let Some(journal) = self.journals.get_mut(&node) else { return self.start_afresh(node) };
        let interrupted = match journal.prng.below(12) {
            0 => Interrupted::Reading,
            1 => Interrupted::CutOff,
            2 => Interrupted::Opening,
            _ => Interrupted::Never,
        };
        self.start(node, interrupted)
    }

    /// All members that are down are started again, and none crashes any more.
    pub(super) fn restart_all(&mut self) -> Ran {
        let nodes: Vec<NodeId> = self.journals.keys().copied().collect();
        self.journals.values_mut().for_each(|journal| journal.armed = None);
        nodes.into_iter().try_for_each(|node| self.start(node, Interrupted::Never))
    }

    fn start(&mut self, node: NodeId, interrupted: Interrupted) -> Ran {
        let mut journal = self.journals.remove(&node).expect("only members with a journal are started again");
        let started = if journal.standing == Standing::Down {
            self.recover(node, &mut journal, interrupted).map(Some)
        } else {
            Ok(None)
        };
        let is_harmed = journal.disk.harm == Harm::Done || journal.has_another_boot();
        if let Ok(Some(Started::Refused(_))) = &started {
            journal.standing = Standing::Gone;
        }
        let down = Span(journal.prng.within(1_000..AGAIN_MAX.0));
        self.journals.insert(node, journal);
        let head = trace::head(self.now, &format!("n{node}"));
        match started? {
            None => Ok(()),
            Some(Started::Up(core, sessions)) => {
                self.count("restarted");
                self.trace.write(|| format!("{head} goes on: {}", trace::standing(&core)));
                self.go_on(node, core, sessions)
            }
            Some(Started::Interrupted) => {
                self.count("start interrupted");
                self.trace.write(|| format!("{head} CRASHED again: {interrupted:?}"));
                self.net.schedule(self.now + down, Happening::Trouble(Trouble::Restart(node)));
                Ok(())
            }
            Some(Started::Refused(error)) if is_harmed => {
                self.count("refused");
                self.trace.write(|| format!("{head} does not start: {error}"));
                Ok(())
            }
            Some(Started::Refused(error)) => Err(Violation::Refused { node, error }),
        }
    }

    /// Goes through a start as `node::restart` does.
    fn recover(&mut self, node: NodeId, journal: &mut Journal, interrupted: Interrupted) -> Ran<Started> {
        if journal.has_another_boot() && in_force(Mutant::UsedKeysNeedJournal) {
            return Ok(Started::Refused("another boot".into()));
        }
        let found = match journal.disk.read() {
            Ok(found) => found,
            Err(problem) => return Ok(Started::Refused(format!("{problem:?}"))),
        };
        if found.is_torn() {
            self.count("tail torn");
        }
        if interrupted == Interrupted::Reading {
            journal.crash_again();
            return Ok(Started::Interrupted);
        }
        journal.disk.cut_off(&found);
        if journal.durability == Durability::Power {
            journal.disk.sync();
        }
        if interrupted == Interrupted::CutOff {
            journal.crash_again();
            return Ok(Started::Interrupted);
        }
        let in_vain = self.verified[&node].in_vain();
        let replay = match self.replay(node, journal, found)? {
            Ok(replay) => replay,
            Err(error) => return Ok(Started::Refused(error)),
        };
        journal.repeated_in_vain += self.verified[&node].in_vain() - in_vain;
        let start = Start {
            number: replay.opening().start.number + 1,
            boot: journal.boot.to_string(),
            now: replay.now(),
            ..replay.opening().start.clone()
        };
        let opening = replay.opening().followed_by(start, replay.done().events);
        if interrupted == Interrupted::Opening {
            journal.disk.begin(&opening);
            journal.disk.tear_opening(&mut journal.prng);
            journal.crash_again();
            return Ok(Started::Interrupted);
        }
        let (core, mut past) = replay.into_core();
        let sessions = std::mem::take(&mut past.sessions);
        journal.goes_on(opening, past, self.now);
        Ok(Started::Up(Box::new(core), sessions))
    }

    /// The core that the journal leads to; `Err` if it leads to none.
    fn replay(&mut self, node: NodeId, journal: &Journal, found: Found) -> Ran<Result<Replay, String>> {
        let suite = self.verified[&node].clone();
        let mut items = found.items;
        let committee = self.committee.clone();
        let begun = match &journal.disk.snapshot {
            Some(snapshot) => {
                self.count("from a snapshot");
                let replay = SnapshotHead::parse(snapshot).and_then(|(place, image)| {
                    Replay::from_snapshot(place, image, committee, node, suite.clone(), Tracing::Off)
                });
                let replay = replay.map_err(|error| error.to_string());
                replay.and_then(|replay| skip_to(&mut items, replay.done().events).map(|()| replay))
            }
            None => match items.first() {
                Some(Item::Opening(record)) => {
                    let opening = Opening::parse(record).map_err(|error| error.to_string());
                    items.remove(0);
                    opening.and_then(|opening| {
                        let begun = Replay::begin(opening, committee, node, suite.clone(), Tracing::Off);
                        begun.map_err(|error| error.to_string())
                    })
                }
                _ => Err("the journal has no beginning".into()),
            },
        };
        let mut replay = match begun {
            Ok(replay) => replay,
            Err(error) => return Ok(Err(error)),
        };
        for item in items {
            let step = match replay.step(item) {
                Ok(step) => step,
                Err(error) => return Ok(Err(error.to_string())),
            };
            self.checker.on_signed(node, &suite.take_signed())?;
            if let Some((_, effects)) = step
                && replay.done().events > journal.released
            {
                self.note_unsent(node, replay.core(), effects)?;
            }
        }
        Ok(Ok(replay))
    }

    /// What a member does again in a replay counts as done, though some of it never left the member.
    fn note_unsent(&mut self, node: NodeId, core: &Core, effects: Vec<Effect>) -> Ran {
        for effect in effects {
            match effect {
                Effect::Send { digest, body, .. } => {
                    self.checker.on_send(node, digest, &Parcel::new(body))?;
                }
                // Of the event in the middle of which it crashed, some may have been reported.
                Effect::Executed(report) if report.round > self.checker.executed(node) => {
                    self.checker.on_executed(node, core, &report)?;
                }
                Effect::Jumped(report) if report.height > self.checker.executed(node) => {
                    self.checker.on_jumped(node, &report)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A core that knows nothing of what its key has signed.
    fn start_afresh(&mut self, node: NodeId) -> Ran {
        let config = self.openings[&node].config(self.committee.clone(), Tracing::Off);
        let core = Core::new(config, self.verified[&node].clone());
        self.go_on(node, Box::new(core), Past::default().sessions)
    }

    /// The first events of a start, as `node::driver` feeds them; then its peers connect.
    fn go_on(&mut self, node: NodeId, core: Box<Core>, sessions: Sessions) -> Ran {
        self.decided.insert(node, core.status().decided);
        *self.node_mut(node) = Node::Honest(core);
        let clients = sessions.clients.into_iter().map(|client| Event::ClientGone { client });
        let peers = sessions.peers.into_iter().map(|peer| Event::PeerDown { peer });
        for event in clients.chain(peers).chain([Event::ChildRestarted, Event::Tick]) {
            let text = format!("{event:?}");
            self.feed_all(node, event, || text.clone())?;
        }
        self.notify_peers(node, |peer| Event::PeerUp { peer });
        for peer in self.everybody().filter(|peer| *peer != node) {
            if !matches!(self.node(peer), Node::Crashed) {
                let event = Event::PeerUp { peer };
                self.net.schedule_on_link(self.now, peer, node, Happening::Event { to: node, event });
            }
        }
        Ok(())
    }
}

impl Journal {
    /// What a crash does to the disk.
    fn suffer(&mut self, cause: Cause, exposure: Exposure) {
        if cause == Cause::Power {
            self.boot += 1;
            let losses: &[Loss] = if exposure == Exposure::Harm { &Loss::ANY } else { &Loss::TAILS };
            let loss = *self.prng.pick(losses).expect("the list is not empty");
            self.disk.lose(loss, &mut self.prng);
        }
        if exposure == Exposure::Harm && self.prng.chance(1, 6) {
            self.disk.rot(&mut self.prng);
        }
    }

    /// A crash while it is started.
    fn crash_again(&mut self) {
        let loses = self.durability == Durability::Power && self.prng.chance(1, 2);
        self.suffer(if loses { Cause::Power } else { Cause::Process }, Exposure::Tails);
    }

    /// Whether the system may have lost what it had not synced.
    fn has_another_boot(&self) -> bool {
        self.durability == Durability::Process && self.opening.start.boot != self.boot.to_string()
    }
}

/// Drops what stands before the segment that begins after so many events.
fn skip_to(items: &mut Vec<Item>, events: u64) -> Result<(), String> {
    let begins_there = |item: &Item| {
        let Item::Opening(record) = item else { return false };
        Opening::parse(record).is_ok_and(|opening| opening.events_before == events)
    };
    let at = items.iter().position(begins_there).ok_or("no segment begins at the snapshot")?;
    items.drain(..at);
    if !in_force(Mutant::SnapshotHasPosition) && items.len() > 1 {
        items.remove(1);
    }
    Ok(())
}
