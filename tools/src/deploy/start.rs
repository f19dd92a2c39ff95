//! `tools deploy start`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::committee::Committee;
use wire::ids::NodeId;

use super::deployment::Deployment;
use super::exit::{EXIT_FAILED, EXIT_INTERRUPTED, not_begun, with_deployment};
use super::options::per_host;
use super::processes::{self, Depth, Found, StartOptions, ended_unasked};
use super::sites::on_all;
use crate::flags::{UsageError, Values};
use crate::keygen::load_testbed;
use crate::load::Offering;
use crate::run::{
    NodeSettings, NotReady, REPLAY, StartError, UnaskedEnd, durability, followers, followers_text,
    wait_until_ready,
};
use crate::terminal::print;

/// How often hosts are looked at while their nodes do not answer.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn start(values: &Values) -> Result<u8, UsageError> {
    let (settings, per_host) = (NodeSettings::of(values)?, per_host(values)?);
    let durability = durability(values)?;
    with_deployment("start", values, |deployment| {
        let keys = Path::new(values.required("data-dir")?).join("keys");
        let committee = load_testbed(Path::new(values.required("hosts")?), &keys)?.1;
        let follow = followers(values, committee.n() as u16, committee.shards())?;
        if !follow.is_empty() {
            print(format!("followers: {}", followers_text(&follow)));
        }
        let options =
            StartOptions { follow, ..StartOptions::new(&committee, per_host, durability, &settings) };
        match processes::start(deployment, &options) {
            Ok(resumed) => Ok(wait_until_up(deployment, committee, &resumed)),
            Err(failures) => {
                eprintln!("tools deploy start: {failures}");
                Ok(EXIT_FAILED)
            }
        }
    })
}

/// Waits until every node answers a client, those that do again what their journals hold for longer; the exit code.
fn wait_until_up(deployment: &Deployment, committee: Committee, resumed: &[NodeId]) -> u8 {
    let hosts = &deployment.target.hosts;
    let (testbed, nodes) = (committee.testbed(), hosts.iter().map(|host| host.id).collect::<Vec<_>>());
    let offering = match Offering::connect(Arc::new(committee), hosts) {
        Ok(offering) => offering,
        Err(error) => return not_begun("start", error),
    };
    let began = Instant::now();
    let mut looked = began;
    let mut ended = || {
        if looked.elapsed() < LOOK_EVERY {
            return Vec::new();
        }
        looked = Instant::now();
        ended_nodes(deployment)
    };
    let ready = loop {
        match wait_until_ready(&offering, &nodes, &mut ended) {
            Err(NotReady::Late(_)) if !resumed.is_empty() && began.elapsed() < REPLAY => {
                print("start: some nodes still do again what their journals hold");
            }
            ready => break ready,
        }
    };
    let code = match ready {
        Ok(_) => {
            print(format!("{} nodes up; testbed {testbed}", nodes.len()));
            0
        }
        Err(NotReady::Interrupted) => {
            eprintln!("tools deploy start: interrupted; tools deploy stop stops the nodes");
            EXIT_INTERRUPTED
        }
        Err(NotReady::Ended(ends)) => {
            eprintln!("tools deploy start: {}", StartError::NodesEnded(ends));
            EXIT_FAILED
        }
        Err(NotReady::Late(answers)) => {
            let down = offering.look_at(|shared| shared.down.clone());
            let silent = nodes.iter().filter(|node| !answers.contains_key(node));
            let why = silent.map(|node| match down.get(node) {
                Some(why) => format!("node {node}: {why}"),
                None => format!("node {node} does not answer"),
            });
            let late = StartError::NotReady { waited: began.elapsed(), notes: why.collect() };
            eprintln!("tools deploy start: {late}");
            EXIT_FAILED
        }
    };
    drop(offering.stop());
    code
}

/// Nodes that were started and run no more.
fn ended_nodes(deployment: &Deployment) -> Vec<UnaskedEnd> {
    let found = on_all(&deployment.target.sites, "start", |site| {
        let running = processes::running(deployment, site, Depth::Brief);
        let running = running.map_err(|error| vec![error.to_string()])?;
        let ended = running.nodes.into_iter().filter_map(|(node, found)| match found {
            Found::Gone(words) => Some(ended_unasked(node, site, &words)),
            Found::Up(_) => None,
        });
        Ok((ended.collect::<Vec<_>>(), String::new()))
    });
    found.into_iter().flatten().flatten().collect()
}
