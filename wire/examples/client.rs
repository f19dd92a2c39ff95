//! A client of a testbed over the crate `wire` alone: submits one transaction and prints its receipt.
//!
//! ```sh
//! cargo run --release -p wire --example client -- data/keys/committee.txt data/hosts.txt 0
//! ```
//!
//! `docs/client-protocol.md` has what it sends. Errors end it with a message: an example needs no more.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};
use wire::client::{Reply, Request, list};
use wire::committee::Committee;
use wire::frame::{FrameReader, Kind, Scratch, Sealer};
use wire::hosts::Hosts;
use wire::ids::{CoinId, NodeId, Round, TxId};
use wire::session::{Dialer, Expected, Identity, LocalHello, REPLY_BYTES};
use wire::{codec, hex, limits, rand};

/// A session: what is sent goes through the sealer, what is read through the reader, in order.
struct Session {
    stream: TcpStream,
    sealer: Sealer,
    reader: FrameReader,
    sent: u64,
    replies: Vec<Reply>,
}

impl Session {
    fn begin(committee: &Committee, hosts: &Hosts, node: NodeId) -> Result<Session, Box<dyn Error>> {
        let host = hosts.iter().find(|host| host.id == node).ok_or("no such node in hosts.txt")?;
        let mut stream = TcpStream::connect((host.public.as_str(), host.port))?;
        let local = LocalHello { incarnation: rand::u64(), decided: Round(0) };
        let expected = Some(Expected::of(committee, node));
        let (dialer, hello) = Dialer::start(&Identity::client(), committee.testbed(), expected, local);
        stream.write_all(&hello)?;
        let mut reply = [0; REPLY_BYTES];
        stream.read_exact(&mut reply)?;
        let (finish, session, _) = dialer.on_reply(&reply)?;
        stream.write_all(&finish)?;
        let reader = FrameReader::new(session.opener, limits::FRAME_BYTES_MAX);
        Ok(Session { stream, sealer: session.sealer, reader, sent: 0, replies: Vec::new() })
    }

    fn send(&mut self, request: &Request, tail: &[u8]) -> Result<(), Box<dyn Error>> {
        let mut frame = Vec::new();
        self.sealer.seal_data(self.sent, &[&codec::encode(request)[..], tail].concat(), &mut frame);
        self.sent += 1;
        Ok(self.stream.write_all(&frame)?)
    }

    /// Waits for a reply of which `pick` makes something.
    fn wait<T>(&mut self, pick: impl Fn(&Reply) -> Option<T>) -> Result<T, Box<dyn Error>> {
        let (mut scratch, mut frames) = (Scratch::new(), Vec::new());
        loop {
            if let Some(picked) = self.replies.drain(..).find_map(|reply| pick(&reply)) {
                return Ok(picked);
            }
            self.reader.read_from(&mut self.stream, &mut scratch, &mut frames)?;
            for frame in frames.drain(..).filter(|frame| frame.kind == Kind::Data) {
                self.replies.push(codec::decode(&frame.body)?);
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [committee, hosts, node] = &arguments[..] else {
        return Err("usage: client COMMITTEE.TXT HOSTS.TXT NODE".into());
    };
    let committee = Committee::parse(committee, &std::fs::read_to_string(committee)?)?;
    let hosts = Hosts::load(Path::new(hosts))?;
    let node = NodeId(node.parse()?);
    let mut session = Session::begin(&committee, &hosts, node)?;
    session.send(&Request::Status, &[])?;
    let height = session.wait(|reply| match reply {
        Reply::Status(status) => Some(status.executed),
        _ => None,
    })?;
    let (shard, testbed, protocol) = (committee.shard_of(node), committee.testbed(), committee.protocol());
    // One of the last coins of the beginning, which loads leave alone.
    let spare = protocol.genesis_coins.saturating_sub(64)..protocol.genesis_coins;
    let name = |index: u64| sha256(&[b"GENC", &testbed.0, &shard.0.to_le_bytes(), &index.to_le_bytes()]);
    session.send(&Request::Coins(spare.map(name).map(CoinId).collect()), &[])?;
    let coins = session.wait(|reply| match reply {
        Reply::Coins(coins) => Some(coins.clone()),
        _ => None,
    })?;
    let (coin, amount) =
        coins.get(rand::u64() as usize % coins.len().max(1)).ok_or("all spare coins are spent")?;
    let key = SigningKey::from_bytes(&sha256(&[b"GENK", &testbed.0]));
    let payload = [b"hello from wire", &rand::bytes32()[..]].concat();
    let mut transaction = vec![1, 1, 1, u8::from(protocol.signed)];
    transaction.extend(shard.0.to_le_bytes());
    transaction.extend((payload.len() as u32).to_le_bytes());
    transaction.extend([&shard.0.to_le_bytes()[..], &coin.0, &amount.to_le_bytes()].concat());
    transaction.extend([&key.verifying_key().to_bytes()[..], &amount.to_le_bytes()].concat());
    transaction.extend([&shard.0.to_le_bytes()[..], &(height.0 + 1_000).to_le_bytes()].concat());
    transaction.extend(payload);
    if protocol.signed {
        let message = [b"TXIN", &testbed.0[..], &sha256(&[&transaction])].concat();
        transaction.extend(key.sign(&message).to_bytes());
    }
    let id = TxId(sha256(&[&transaction]));
    session.send(&Request::Submit, &list::of([&transaction]))?;
    let fate = session.wait(|reply| match reply {
        Reply::Receipts(receipts) => {
            receipts.iter().find(|receipt| receipt.id == id).map(|receipt| receipt.fate)
        }
        _ => None,
    })?;
    println!("{} {fate}", hex::encode(&id.0));
    Ok(())
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    Sha256::digest(parts.concat()).into()
}
