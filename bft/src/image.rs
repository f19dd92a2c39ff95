//! The image of a core: its whole state as bytes, from which a core is made again that goes on exactly as the first.
//!
//! It holds everything that a core has learned or done: ledger, lanes, echoes, open views, beliefs, pending
//! transactions, timers. It does not hold what the core gets anew at every start: the committee, the keys, and the
//! rules made of them. So its only secrets are the keys of hash tables. No field can be forgotten: a part that owns
//! something of the second kind lists all its fields with [`image!`], which does not compile if one is left out, and
//! every other part derives its encoding.
//!
//! Reading trusts the image: it is our own, and whoever stores it verifies a digest of it first. Bytes that are no
//! image are an error, never a panic.

use std::io::{self, Write};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use wire::codec::{self, CodecError};

use crate::core::CoreConfig;
use crate::crypto::suite::Suite;
use crate::lane::Validity;
use crate::member::Member;
use crate::proposal::Rules;
use crate::trace::Tracing;

/// The things that a core gets anew at every start.
pub(crate) struct Given {
    pub(crate) member: Member,
    pub(crate) rules: Arc<Rules>,
    pub(crate) validity: Validity,
    pub(crate) tracing: Tracing,
}

impl Given {
    /// Those of a core with this configuration.
    pub(crate) fn of(config: &CoreConfig, suite: Arc<dyn Suite>) -> Given {
        let member = Member::new(config.committee.clone(), suite, config.node);
        let rules = Arc::new(Rules::new(&member));
        let judge = rules.clone();
        let validity: Validity =
            Arc::new(move |payload, verified| judge.validate_with(payload, verified).is_ok());
        Given { member, rules, validity, tracing: config.tracing }
    }
}

/// A part of the state that owns something given.
pub(crate) trait Image: Sized {
    /// Writes its bytes.
    ///
    /// # Errors
    /// Those of the writer.
    fn save(&self, image: &mut impl Write) -> io::Result<()>;

    /// The part whose bytes come next.
    fn load(image: &mut &[u8], given: &Given) -> Result<Self, CodecError>;
}

/// Whether there is one, and then its image.
impl<T: Image> Image for Option<T> {
    fn save(&self, image: &mut impl Write) -> io::Result<()> {
        codec::encode_to(&self.is_some(), image)?;
        self.as_ref().map_or(Ok(()), |part| part.save(image))
    }

    fn load(image: &mut &[u8], given: &Given) -> Result<Option<T>, CodecError> {
        let is_there = load_plain::<bool>(image)?;
        is_there.then(|| T::load(image, given)).transpose()
    }
}

/// The part that comes next; it owns nothing given.
pub(crate) fn load_plain<T: DeserializeOwned>(image: &mut &[u8]) -> Result<T, CodecError> {
    let (part, rest) = codec::decode_own_with_tail(image)?;
    *image = rest;
    Ok(part)
}

/// Implements [`Image`] for a struct. Its fields stand in three lists: those that come from [`Given`], each with its
/// source; those that are [`Image`]s; all others.
macro_rules! image {
    ($type:ident: given $($given:ident = $from:expr),*; parts $($part:ident),*; plain $($plain:ident),*;) => {
        impl $crate::image::Image for $type {
            fn save(&self, image: &mut impl ::std::io::Write) -> ::std::io::Result<()> {
                let $type { $($given: _,)* $($part,)* $($plain,)* } = self;
                $($crate::image::Image::save($part, image)?;)*
                $(::wire::codec::encode_to($plain, image)?;)*
                Ok(())
            }

            fn load(
                image: &mut &[u8],
                given: &$crate::image::Given,
            ) -> Result<$type, ::wire::codec::CodecError> {
                $(let $part = $crate::image::Image::load(image, given)?;)*
                $(let $plain = $crate::image::load_plain(image)?;)*
                $(let $given = ($from as fn(&$crate::image::Given) -> _)(given);)*
                Ok($type { $($given,)* $($part,)* $($plain,)* })
            }
        }
    };
}
pub(crate) use image;
