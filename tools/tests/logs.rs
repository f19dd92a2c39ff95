//! `tools logs` over what a real run has logged.
//!
//! A run with several shards serves most of it: three shards whose nodes log their steps, transactions between them of
//! which some can never execute in one of their input shards. In another, one shard logs all there is.

mod place;

use std::process::Output;

use place::{Place, text};

/// The lines of an output.
fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect()
}

/// `tools logs` with these arguments; its lines.
fn logs(place: &Place, arguments: &str) -> Vec<String> {
    let output = place.command("logs", arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments}: {}", text(&output));
    lines(&output)
}

/// A run whose nodes log at this level.
fn run(level: &str, load: &str) -> Place {
    let place = Place::new();
    let output = place.command("local", load).env("RUST_LOG", level).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    place
}

/// Asserts that a command shows nothing and gives this reason.
fn assert_nothing(place: &Place, arguments: &str, reason: &str) {
    let output = place.command("logs", arguments).output().unwrap();
    assert_eq!((output.status.code(), lines(&output)), (Some(1), vec![]), "{arguments}: {}", text(&output));
    assert!(text(&output).contains(reason), "{arguments}: {}", text(&output));
    assert!(!text(&output).contains("clocks.csv"), "{}", text(&output));
}

/// The ids that `--stories` lists with this end.
fn ids_with(place: &Place, end: &str) -> Vec<String> {
    let listed = logs(place, "log --stories 100000");
    let id = |line: &String| line.split_once("  tx ").map(|(_, rest)| rest[..16].to_string());
    let ids: Vec<String> = listed.iter().filter(|line| line.contains(end)).filter_map(id).collect();
    assert!(!ids.is_empty(), "none is {end} in {listed:#?}");
    ids
}

/// Asserts that lines with these texts stand in the story in this order, and returns where.
fn assert_order(story: &[String], texts: &[&str]) -> Vec<usize> {
    let mut places: Vec<usize> = Vec::new();
    for text in texts {
        let from = places.last().map_or(0, |last| last + 1);
        let place = story[from..].iter().position(|line| line.contains(text));
        let place = place.unwrap_or_else(|| panic!("'{text}' after line {from} of {story:#?}"));
        places.push(from + place);
    }
    places
}

/// The first word after `start` that begins with a part's name, in a line of the story.
fn part_in(line: &str, start: &str) -> String {
    let (_, rest) = line.split_once(start).unwrap_or_else(|| panic!("no '{start}' in {line}"));
    rest.split([' ', ',']).next().unwrap().to_string()
}

/// The way of the notes' unhappy path: one input shard has spent, the other can never execute it and reports so without
/// agreement (CL_M, CL), the output shard cancels, and the first gives the inputs back.
fn assert_cancelled_by_words(story: &[String]) {
    let spending = assert_order(
        story,
        &[
            "is admitted here, for client",
            "to be ordered",
            "has spent in shard",
            "is made in shard",
            "(LD)",
            "is ticked in shard",
            "is cancelled in shard",
        ],
    );
    // The shard that spent ships a part, and that part makes the tick.
    let carrier = format!("part {}", part_in(&story[spending[2]], "its record is open and part "));
    assert_order(
        story,
        &[
            "has spent in shard",
            &format!("{carrier} is made"),
            &format!("{carrier} goes to"),
            &format!("{carrier} has come from"),
            &format!("{carrier} is signed"),
            &format!("{carrier} is eligible"),
            &format!("{carrier} is imported by lane"),
            &format!("{carrier} is executed"),
            &format!("by {carrier}"),
        ],
    );
    // The other input shard votes, then informs the others; they believe it, list the cancel and execute it.
    assert_order(
        story,
        &["(CL_M)", "(CL)", "never to execute", "(BACK)", "is cancelled in shard", "is refunded in shard"],
    );
    // A cancel comes back in a part of the output shard, which the refund names.
    let refund = story.iter().find(|line| line.contains("is refunded in shard")).unwrap();
    let (_, rest) = refund.split_once(" by part ").expect("the refund is by the word of another shard");
    let back = format!("part {}", rest.split(';').next().unwrap());
    let back_to = assert_order(
        story,
        &[
            "is cancelled in shard",
            &format!("{back} is made"),
            &format!("{back} goes to"),
            &format!("{back} is executed"),
            &format!("by {back}; its record is closed"),
        ],
    );
    assert!(story[back_to[3]].contains(" cancelled"), "{}", story[back_to[3]]);
    // The client gets one receipt, and not before an input shard has rejected it.
    assert_order(story, &["(CL_M)", "is rejected: "]);
    let receipts =
        story.iter().filter(|line| line.contains(" gets the receipt") && line.contains(" is rejected: "));
    assert_eq!(receipts.count(), 1, "{story:#?}");
}

/// Whether the refund is at another shard than the output shard, and the reject without agreement.
fn is_by_words(story: &[String]) -> bool {
    let any = |text: &str| story.iter().any(|line| line.contains(text));
    any("(CL_M)")
        && !any(" is rejected in shard")
        && any(" by part ")
        && story.iter().filter(|line| line.contains("is refunded in shard")).count() == 1
        && story.iter().any(|line| line.contains("is refunded in shard") && line.contains(" by part "))
}

#[test]
fn one_transaction_is_followed_through_all_shards_and_each_filter_narrows() {
    let place = run("debug", "--nodes 4 --shards 3 --cross 1 --invalid 0.3 --rate 40 --duration 5");
    assert!(place.number("rejected") > 0);
    let refunded = ids_with(&place, "refunded in shard");
    let stories: Vec<Vec<String>> =
        refunded.iter().map(|id| logs(&place, &format!("log --tx {id}"))).collect();
    let by_words: Vec<&Vec<String>> = stories.iter().filter(|story| is_by_words(story)).collect();
    assert!(!by_words.is_empty(), "none of {} refunds is without agreement: {stories:#?}", stories.len());
    for story in &by_words {
        assert_cancelled_by_words(story);
    }
    // Every refund, whichever way it came about, follows a cancel, which follows a tick or a spend.
    for story in &stories {
        assert_order(story, &["is admitted here", "has spent in shard", "is cancelled in", "is refunded in"]);
    }

    let id = &refunded[0];
    let heading = &stories[0][0];
    assert!(heading.starts_with(&format!("tx {id}: ")), "{heading}");
    // An event of one shard stands there once, with all four members.
    let spent = stories[0].iter().find(|line| line.contains("has spent in shard")).unwrap();
    let four = [" 0-3 ", " 4-7 ", " 8-11 "];
    assert!(four.iter().any(|nodes| spent.contains(nodes)), "{spent}");
    let every_line = logs(&place, &format!("log --tx {id} --all"));
    assert!(every_line.len() > stories[0].len(), "{} lines", every_line.len());
    assert!(every_line.is_sorted_by(|one, next| one[..15] <= next[..15]), "by time: {every_line:#?}");
    let of_node_0 = logs(&place, &format!("log --tx {id} --all --node 0"));
    assert!(of_node_0.len() < every_line.len() && of_node_0.iter().all(|line| line.contains(" node 0 ")));

    // As much of an id as makes it unique; less names the candidates.
    assert_eq!(logs(&place, &format!("log --tx {}", &id[..14]))[0], *heading);
    let ambiguous = (0..16)
        .map(|digit| format!("{digit:x}"))
        .find(|digit| refunded.iter().filter(|id| id.starts_with(digit.as_str())).count() > 1);
    if let Some(digit) = ambiguous {
        let output = place.command("logs", &format!("log --tx {digit}")).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains("the beginning of one id; this may be"), "{}", text(&output));
    }
    assert_nothing(&place, "log --tx 0000000000000000", "--tx 0000000000000000 leaves none: nodes ran with");
    let spent = logs(&place, "log --tx slowest");
    let ordered =
        ["is admitted", "goes into lane", "is decided in view 0: lane", "has spent in", "has finished in"];
    assert_order(&spent, &ordered);

    let round = logs(&place, "log --round 2 --shard 1");
    assert_order(
        &round,
        &["round 2 of shard 1: ", "has our input", "is decided in view", "is executed: ", "is certified"],
    );
    assert!(round.iter().all(|line| !line.contains("shard 0 is") && !line.contains(" 0-3 ")), "{round:#?}");
    let links = logs(&place, "log --process net_client --grep link --node 5");
    assert!(links.iter().all(|line| line.contains("node 5   net_client INFO  ")), "{links:#?}");
    for missing in ["log/none", "data"] {
        let output = place.command("logs", missing).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{missing}: {}", text(&output));
    }
}

#[test]
fn a_transaction_within_a_shard_is_followed_and_what_is_filtered_away_is_named() {
    let place = run("node=trace", "--nodes 4 --rate 50 --duration 3");
    let listed = logs(&place, "log --stories 1");
    let names = ["slowest of ", "median of ", "random of "];
    assert!(
        listed.len() == 3 && listed.iter().zip(names).all(|(line, name)| line.contains(name)),
        "{listed:#?}"
    );
    for name in ["slowest", "median", "random"] {
        let story = logs(&place, &format!("log --tx {name}"));
        let id = &story[0][3..19];
        assert!(story[1..].iter().all(|line| !line.contains(id)), "{story:#?}");
        let steps = [
            "is admitted here, for client",
            "goes into lane",
            "is echoed",
            "is certified by N−f ECHOs",
            "is decided in view",
            "has finished in shard 0 in round",
            "gets the receipt",
        ];
        let places = assert_order(&story, &steps);
        assert!(
            story[places[2]].contains(" is echoed") && story[places[4]].contains(": lane "),
            "{story:#?}"
        );
        let other =
            story.iter().position(|line| line.contains("is executed: ")).expect("its round is executed");
        assert!(other > places[4], "{story:#?}");
    }
    for (arguments, reason) in [
        ("log --level warn", "--level warn leaves none: they are "),
        ("log --node 99", "--node 99 leaves none: they are of nodes 0-3"),
        ("log --shard 7", "--shard 7 leaves none: they name shard 0"),
        ("log --tx slowest --level info", ", --level info leaves none: they are "),
        ("log --stories 5 --until 0", "--until 0 leaves "),
        ("log --grep xyzzy", "--grep xyzzy leaves none"),
    ] {
        assert_nothing(&place, arguments, reason);
    }
}
