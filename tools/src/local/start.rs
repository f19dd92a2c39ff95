//! Starting the nodes of a local run.

use std::fs;
use std::path::Path;

use wire::ids::NodeId;
use wire::text::ParseError;

use super::cluster::Cluster;
use super::options::Options;
use super::ports;
use super::room;
use crate::run::{Begins, Progress, Run, RunError, RunPlan, StartError, prepare, prepare_again, resume, wan};

/// Starts all nodes, which get `further` arguments, and begins to connect to them.
pub(super) fn start<'a>(
    options: &'a Options,
    further: &[&str],
    progress: Progress,
) -> Result<Run<'a>, RunError> {
    let (plan, directories) = (&options.run, &options.run.directories);
    let nodes = plan.nodes_in_all();
    let print = |line: &str| progress.print(line);
    let (prepared, resumed) = match options.begins {
        Begins::Anew => (prepare(plan, || ports::places(nodes, options.base_port), print)?, None),
        Begins::WithJournals => {
            let places = |hosts| ports::again(hosts, options.base_port);
            let (prepared, resumed) = prepare_again(plan, places, print)?;
            (prepared, Some(resumed))
        }
    };
    if options.durability.is_some() {
        resume::note(&directories.data, &options.noted)?;
    }
    // Only now, when the journals of the last run are removed.
    room::warning(options).iter().for_each(|text| print(text));
    if resumed.is_some() {
        print("nodes do again what their journals hold since their last snapshots");
        refuse_unused_keys(plan)?;
        plan.followers_text().iter().for_each(|text| print(text));
    }
    let metrics = if options.has_metrics { ports::for_metrics(&prepared.hosts)? } else { Vec::new() };
    save_metrics(&metrics, &directories.metrics(), &progress)?;
    let liars = plan.byzantine();
    let is_byzantine = |id| liars.contains_key(&id);
    let cluster = Cluster::start(directories, nodes, is_byzantine, |id| {
        let conduct = liars.get(&id).map(|conduct| ["--behaviour".to_string(), conduct.name().into()]);
        let mut words: Vec<String> = conduct.into_iter().flatten().collect();
        words.extend(arguments(options, id, is_byzantine(id)));
        if let Some(port) = metrics.get(usize::from(id.0)) {
            words.extend(["--metrics".to_string(), port.to_string()]);
        }
        words.extend(further.iter().map(ToString::to_string));
        words
    })?;
    let mut run = Run::begin(plan, prepared, Box::new(cluster), progress)?;
    run.resumed = resumed;
    Ok(run)
}

/// A node whose keys have signed nothing yet would not only follow: it would sign, without a journal.
fn refuse_unused_keys(plan: &RunPlan) -> Result<(), StartError> {
    let mark = |node: &&NodeId| plan.directories.keys().join(format!("node-{node}.used"));
    match plan.follow.iter().find(|node| !mark(node).exists()) {
        Some(node) => {
            let expected = "nodes whose keys have served a start";
            Err(ParseError::of("--follow", &node.to_string(), expected).into())
        }
        None => Ok(()),
    }
}

/// Writes down where nodes serve metrics, if they do.
fn save_metrics(ports: &[u16], path: &Path, progress: &Progress) -> Result<(), StartError> {
    let Some(first) = ports.first() else { return Ok(()) };
    let lines =
        (0..).zip(ports).map(|(id, port): (u16, _)| format!("{id} http://127.0.0.1:{port}/metrics\n"));
    fs::write(path, lines.collect::<String>()).map_err(|error| StartError::file("write", path, error))?;
    let path = path.display();
    progress.print(&format!("metrics of node 0 at http://127.0.0.1:{first}/metrics, of all in {path}"));
    Ok(())
}

/// The command line of a node.
fn arguments(options: &Options, id: NodeId, is_byzantine: bool) -> Vec<String> {
    let directories = &options.run.directories;
    let mut words = vec!["--stop-on-stdin-eof".to_string()];
    for (name, value) in [
        ("--id", id.to_string()),
        ("--keys", directories.keys().display().to_string()),
        ("--hosts", directories.hosts().display().to_string()),
        ("--log-dir", directories.log.display().to_string()),
        ("--history-mib", options.history_mib.to_string()),
    ] {
        words.extend([name.to_string(), value]);
    }
    if options.run.follow.contains(&id) {
        words.push("--follow".into());
    } else if let Some(durability) = options.durability.filter(|_| !is_byzantine) {
        let journal = directories.journal(id).display().to_string();
        words.extend(["--journal", &journal, "--durability", durability].map(String::from));
    }
    if let Some(path) = wan::written(directories) {
        words.extend(["--wan".into(), path.display().to_string()]);
    }
    words.extend(options.run.settings.arguments());
    words
}
