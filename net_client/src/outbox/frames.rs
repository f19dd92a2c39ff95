//! The frames of an outbox, by age and by class.
//!
//! Every operation costs a logarithm of the frames that wait. None walks over them: those of a finished class are
//! found by an index, those to be written next by their age.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use wire::envelope::Class;

use super::Item;

/// The place of a frame in the order in which frames were pushed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Age(u64);

impl Age {
    /// That of the first frame ever pushed.
    pub(super) const FIRST: Age = Age(0);

    /// The age of the frame pushed next after this one.
    pub(super) fn next(self) -> Age {
        Age(self.0 + 1)
    }
}

/// One message and its sequence number.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) item: Item,
    /// Valid below `Outbox::numbered`.
    pub(super) sequence: u64,
}

/// All frames of an outbox. See the module.
#[derive(Debug)]
pub(super) struct Frames {
    by_age: BTreeMap<Age, Frame>,
    /// The frames whose class can finish.
    by_class: BTreeSet<(Class, Age)>,
    next: Age,
    bytes: u64,
    /// Frames looked at so far, for the test that bounds what an event costs.
    #[cfg(test)]
    pub(super) steps: u64,
}

/// The cost of a frame beside the bytes of its body: its entries in the two tables and the allocation behind the body.
/// Even empty bodies cost this much, so the bound in bytes bounds the number of frames too.
pub(super) const FRAME_BYTES: u64 = 256;

pub(super) fn cost(item: &Item) -> u64 {
    FRAME_BYTES + item.body.len() as u64
}

impl Frames {
    pub(super) fn new() -> Frames {
        Frames {
            by_age: BTreeMap::new(),
            by_class: BTreeSet::new(),
            next: Age::FIRST,
            bytes: 0,
            #[cfg(test)]
            steps: 0,
        }
    }

    /// The sum of the frames' costs.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a frame behind all others.
    pub(super) fn push(&mut self, item: Item) {
        self.step();
        self.bytes += cost(&item);
        if can_finish(item.class) {
            self.by_class.insert((item.class, self.next));
        }
        self.by_age.insert(self.next, Frame { item, sequence: 0 });
        self.next = self.next.next();
    }

    /// The oldest frame.
    pub(super) fn oldest(&mut self) -> Option<(Age, &Frame)> {
        self.step();
        self.by_age.first_key_value().map(|(age, frame)| (*age, frame))
    }

    /// The frame of this age, or the next younger one.
    pub(super) fn at_or_after(&mut self, age: Age) -> Option<(Age, &mut Frame)> {
        self.step();
        self.by_age.range_mut(age..).next().map(|(age, frame)| (*age, frame))
    }

    /// Some frame of one of these classes.
    pub(super) fn of_class(&mut self, classes: &RangeInclusive<Class>) -> Option<Age> {
        self.step();
        let ages = (*classes.start(), Age::FIRST)..=(*classes.end(), self.next);
        self.by_class.range(ages).next().map(|(_, age)| *age)
    }

    /// Removes a frame.
    pub(super) fn remove(&mut self, age: Age) {
        self.step();
        if let Some(Frame { item, .. }) = self.by_age.remove(&age) {
            self.bytes -= cost(&item);
            self.by_class.remove(&(item.class, age));
        }
    }

    fn step(&mut self) {
        #[cfg(test)]
        {
            self.steps += 1;
        }
    }

    /// The sum of the costs and the length of the index, counted anew.
    #[cfg(test)]
    pub(super) fn recount(&self) -> (u64, usize) {
        let items = || self.by_age.values().map(|frame| &frame.item);
        assert_eq!(self.by_class.len(), items().filter(|item| can_finish(item.class)).count());
        (items().map(cost).sum(), self.by_age.len())
    }
}

fn can_finish(class: Class) -> bool {
    class != Class::Keep
}
