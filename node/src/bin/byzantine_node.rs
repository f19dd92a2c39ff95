//! `byzantine_node`, a participant that attacks the others: `node` with a liar in place of its core.
//!
//! Only `--faults byzantine:` and tests start it, and it is built only if its feature is switched on. The attacks are
//! those of the simulator ([`bft::sim::Liar`]). It writes no journal: what it does depends on more than what its core
//! is fed.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use bft::core::Core;
use bft::event::{Effect, Event};
use bft::ledger::Ledger;
use bft::sim::{Conduct, Liar};
use bft::time::Time;
use node::Machine;
use wire::client::NodeStatus;
use wire::rand;
use wire::text::{self, ParseError};

/// What a liar cannot do, of the flags of `node`.
const REFUSED: [&str; 4] = ["--journal", "--durability", "--follow", "--pipe"];

struct Byzantine(Liar);

impl Machine for Byzantine {
    fn handle(&mut self, now: Time, event: Event) -> Vec<Effect> {
        let effects = self.0.handle(now, event);
        for proof in self.0.take_proofs() {
            log::error!("a guarantee of the protocol is broken: {proof}");
        }
        effects
    }

    fn next_wakeup(&self) -> Option<Time> {
        self.0.next_wakeup()
    }

    fn ledger(&self) -> Option<Ledger> {
        Some(Core::ledger(self.0.core()).clone())
    }

    fn status(&self) -> NodeStatus {
        self.0.core().status()
    }

    fn status_at_hand(&self) -> NodeStatus {
        self.0.core().status_at_hand()
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match conduct(&mut arguments) {
        Ok((conduct, rest)) => node::run(rest, move |core, config, suite| {
            log::warn!("this node is Byzantine: {}", conduct.name());
            Byzantine(Liar::new(core, config, suite, conduct, rand::u64()))
        }),
        Err(error) => {
            text::complain(&format!("byzantine_node: {error}"));
            ExitCode::from(2)
        }
    }
}

/// `--behaviour NAME`, and then the arguments of `node`.
fn conduct(arguments: &mut dyn Iterator<Item = String>) -> Result<(Conduct, Vec<String>), ParseError> {
    let names = Conduct::ALL.map(Conduct::name).join(", ");
    let first = arguments.next().unwrap_or_default();
    if first != "--behaviour" {
        return Err(ParseError::of("the first argument", &first, "--behaviour NAME, and then those of node"));
    }
    let name = arguments.next().unwrap_or_default();
    let conduct = Conduct::parse(&name);
    let conduct = conduct.ok_or_else(|| ParseError::of("--behaviour", &name, format!("one of {names}")))?;
    let rest: Vec<String> = arguments.collect();
    match rest.iter().find(|word| REFUSED.contains(&word.as_str())) {
        Some(word) => {
            Err(ParseError::of("byzantine_node", word, "no such flag: it has no journal and no pipe"))
        }
        None => Ok((conduct, rest)),
    }
}
