//! The result of one check of a run: it holds, it does not, or it could not be judged.

use std::fmt;

use crate::json::Json;

/// See the module. A check that nothing was found against, but that saw only a part of what it is about, is not judged:
/// "true" is for whole runs only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Judgement {
    /// All of it was looked at, and holds.
    True,
    /// It does not hold, whatever else could be seen.
    False,
    /// Why it cannot be judged.
    NotJudged(String),
    /// It can be judged when the nodes have stopped.
    Deferred,
}

impl Judgement {
    /// Something speaks against it.
    pub(super) fn break_it(&mut self) {
        *self = Judgement::False;
    }

    /// A part of it cannot be seen; the first reason stays.
    pub(super) fn limit(&mut self, why: impl Into<String>) {
        if *self == Judgement::True {
            *self = Judgement::NotJudged(why.into());
        }
    }

    /// Whether all of it was judged and holds.
    pub(crate) fn holds(&self) -> bool {
        *self == Judgement::True
    }

    /// `true`, `false`, or `null` where it was not judged.
    pub(crate) fn to_json(&self) -> Json {
        match self {
            Judgement::True => Json::from(true),
            Judgement::False => Json::from(false),
            Judgement::NotJudged(_) | Judgement::Deferred => Json::Null,
        }
    }
}

/// Nothing was read.
impl Default for Judgement {
    fn default() -> Judgement {
        Judgement::NotJudged("the files of the run could not be read".into())
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Judgement::True => f.write_str("true"),
            Judgement::False => f.write_str("false"),
            Judgement::NotJudged(why) => write!(f, "not judged: {why}"),
            Judgement::Deferred => f.write_str(
                "not judged yet: the nodes go on; when they have stopped and their logs are here, tools verify judges it",
            ),
        }
    }
}
