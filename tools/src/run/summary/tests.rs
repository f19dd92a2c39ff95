use wire::client::{Refusal, Rejection};

use super::*;
use crate::load::Mix;
use crate::run::faults::{Fault, List};
use crate::run::recovery::Start;
use crate::testing::{documented, documented_keys, json_keys};
use crate::verify::Judgement;

/// A node that was crashed and restarted, and what came of both.
fn crash_and_restart() -> (Vec<Outcome>, Vec<Recovery>) {
    let plan = List::parse("crash:1@3+3", 4, 1).unwrap().plan(None, 1).unwrap();
    let s = Duration::from_secs;
    let outcome = |fault: &Fault| Outcome {
        fault: fault.clone(),
        at: fault.at,
        until: Some(s(6)),
        first_commit_s: Some(1.0),
        level_s: None,
    };
    let recovery = Recovery {
        node: NodeId(1),
        fault: plan[1].to_string(),
        start: Start::Anew,
        at_s: 6.0,
        answered_s: Some(0.8),
        first_commit_s: Some(1.0),
        level_s: None,
    };
    (plan.iter().map(outcome).collect(), vec![recovery])
}

const STALL: Stall = Stall { node: NodeId(3), from_s: 6.0, length_s: 24.6 };

/// A number for each program.
fn by_program(numbers: [f64; 4]) -> BTreeMap<String, f64> {
    let programs = ["node", "net_client", "net_server", "tools"].map(String::from);
    programs.into_iter().zip(numbers).collect()
}

/// A run of ten seconds of 1,000 a second, of which the first two are warm-up.
pub(crate) fn made_up() -> Summary {
    let (faults, recoveries) = crash_and_restart();
    let mut tally = Tally::of_shards(1);
    tally.borders.measured_from_us = 2_000_000;
    tally.borders.offered_until_us = 10_000_000;
    (1..=100).for_each(|ms| tally.latency_intra.add(ms * 1_000));
    tally.submitted = 10_000;
    tally.submitted_valid = 10_000;
    tally.submitted_measured = 8_000;
    tally.committed = 10_000;
    tally.committed_offering = 9_990;
    tally.committed_measured = 8_000;
    let verdict = Verdict {
        rounds: 500,
        rounds_measured: 400,
        views: 480,
        agreement: Judgement::True,
        value_conserved: Judgement::True,
        exchange_holds: Judgement::True,
        receipts_hold: Judgement::True,
        ..Verdict::default()
    };
    Summary {
        testbed: Digest([7; 32]),
        n: 4,
        shards: 1,
        f: 1,
        plan: Plan {
            rate: Rate::PerSecond(1_000),
            duration: Some(Duration::from_secs(10)),
            warmup: Duration::from_secs(2),
            tx_bytes: 250,
            mix: Mix::default(),
            expiry_rounds: None,
            hand_on_after: Duration::from_secs(1),
            seed: 1,
        },
        began_unix_ms: Some(1_700_000_000_000),
        offered_for: Duration::from_secs(10),
        measured_for: Duration::from_secs(8),
        tally,
        window: None,
        in_flight: 0,
        orphaned: 0,
        doubtful: 0,
        dead: 0,
        verdict,
        used: Usage { cpu_s: by_program([0.4, 0.1, 0.1, 0.2]), committed: 8_000, elapsed_s: 8.0 },
        peak_mb: by_program([77.5, 3.0, 4.0, 20.0]),
        counters: Counters { bytes_sent: 5_000_000, ..Counters::default() },
        behind: BTreeMap::from([(NodeId(2), 1_204)]),
        followers: BTreeSet::from([NodeId(2)]),
        stalls: vec![STALL],
        faults,
        recoveries,
        findings: Vec::new(),
        diagnosis: Vec::new(),
        unplanned_ends: Vec::new(),
        interrupted: false,
        commit: None,
        machine: Machine { cores: 2, cpu: "x".into(), mem_gb: 4.0 },
        hosts: Vec::new(),
        options: vec![("rate", Json::from(1_000u64))],
    }
}

#[test]
fn exit_codes_by_what_went_wrong() {
    type Change = fn(&mut Summary);
    let table: [(Change, u8, &str); 31] = [
        (|_| {}, 0, "all well"),
        (|s| s.orphaned = 5, 0, "orphans of a planned crash"),
        (|s| s.tally.expired = 5, 0, "expired while a node was down"),
        (|s| s.verdict.agreement = Judgement::False, 1, "a fork"),
        (|s| s.verdict.value_conserved = Judgement::False, 1, "money made"),
        (
            |s| s.verdict.value_conserved = Judgement::NotJudged("x".into()),
            1,
            "a shard of which nobody is left",
        ),
        (|s| s.verdict.receipts_hold = Judgement::False, 1, "receipts without blocks"),
        (|s| s.findings.push("x".into()), 1, "a finding"),
        (|s| s.verdict.exchange_holds = Judgement::False, 1, "shards disagree"),
        (|s| s.tally.finished_invalid = 1, 1, "a spent coin spent again"),
        (|s| s.tally.rejected = BTreeMap::from([(Rejection::Spent, 5)]), 0, "rejected for a reason"),
        (|s| (s.tally.rejected_unexpected, s.shards) = (1, 2), 0, "a coin in doubt after a crash"),
        (|s| (s.tally.rejected_unexpected, s.shards, s.faults) = (1, 2, vec![]), 1, "rejected for no reason"),
        (|s| (s.doubtful, s.shards, s.faults) = (1, 2, vec![]), 1, "a coin that nobody holds"),
        (|s| (s.doubtful, s.shards) = (1, 2), 0, "a coin in doubt after a crash"),
        (|s| s.dead = 1, 1, "a chain that cannot go on"),
        (
            |s| (s.tally.expired, s.faults, s.stalls) = (5, vec![], vec![]),
            1,
            "expired though nothing stood still",
        ),
        (|s| (s.tally.expired, s.faults) = (5, vec![]), 0, "expired while a node stood still"),
        (
            |s| (s.tally.expired, s.faults, s.stalls, s.plan.expiry_rounds) = (5, vec![], vec![], Some(10)),
            0,
            "expired as soon as the plan let it",
        ),
        (|s| s.verdict.findings_count = 1, 1, "a finding in the files"),
        (|s| s.tally.submitted = 0, 1, "nothing was offered"),
        (|s| (s.tally.committed, s.tally.submitted_valid) = (0, 0), 0, "nothing valid was offered"),
        (|s| s.tally.lost = 1, 1, "lost"),
        (|s| s.tally.duplicated = 1, 1, "duplicated"),
        (|s| s.in_flight = 1, 1, "in flight"),
        (|s| s.unplanned_ends.push("node 3".into()), 1, "a node died"),
        (
            |s| (s.interrupted, s.unplanned_ends) = (true, vec!["node 3".into()]),
            1,
            "a node died before Ctrl-C",
        ),
        (|s| (s.tally.committed, s.in_flight) = (0, 100), 3, "nothing committed"),
        (|s| (s.interrupted, s.in_flight) = (true, 100), 130, "Ctrl-C"),
        (|s| (s.interrupted, s.verdict.agreement) = (true, Judgement::False), 1, "a fork seen at Ctrl-C"),
        (
            |s| (s.interrupted, s.verdict.exchange_holds) = (true, Judgement::NotJudged("x".into())),
            130,
            "parts on their way at Ctrl-C",
        ),
    ];
    for (change, code, why) in table {
        let mut summary = made_up();
        change(&mut summary);
        assert_eq!(summary.exit_code(), code, "{why}");
    }
}

#[test]
fn figures_are_numbers_in_json() {
    let mut summary = made_up();
    summary.tally.unsent = 500;
    let json = summary.to_json().to_string();
    for part in [
        "\"duration_s\": 10,",
        "\"measured_s\": 8,",
        "\"offered_tps\": 1000,",
        "\"offered\": 10500,",
        "\"unsent\": 500,",
        "\"committed_offering\": 9990,",
        "\"committed_drain\": 10,",
        "\"tps\": 1000,",
        "\"window\": null,",
        "\"rounds\": 500,",
        "\"rounds_per_s\": 50,",
        "\"views_per_round\": 1.2,",
        "\"bytes_per_tx\": 500,",
        "\"latency_ms\": {\n    \"p50\": 50.175,\n    \"p90\": 90.111,\n    \"p99\": 100,\n    \"max\": 100\n  }",
        "\"latency_cross_ms\": {\n    \"p50\": null",
        "\"fault\": \"crash:1@3\",\n      \"kind\": \"crash\",\n      \"nodes\": [1],\n      \"at_s\": 3,\n      \"until_s\": 6,",
        "\"after\": \"restart:1@6\"",
        "\"agreement\": true",
        "\"version\": \"0",
        "\"commit\": null",
        "\"mem_gb\": 4",
        "\"options\": {\n    \"rate\": 1000\n  }",
        "\"cpu_us_per_tx\": {\n    \"net_client\": 12.5,\n    \"net_server\": 12.5,\n    \"node\": 50,\n    \"tools\": 25\n  }",
        "\"cores_busy\": 0.1,",
        "\"node\": 77.5,",
        "\"rounds_behind\": {\n    \"2\": 1204\n  }",
    ] {
        assert!(json.contains(part), "{part} in {json}");
    }
}

/// `docs/files.md` defines every key of the summary and every column of the files for plots, and no other.
#[test]
fn each_figure_is_defined() {
    // Those of a host are listed apart; what is counted by name has no fixed keys.
    const COUNTED: [&str; 7] = [
        "refused_by_reason",
        "cpu_us_per_tx",
        "peak_mb",
        "peer_faults",
        "rounds_behind",
        "turned_away",
        "options",
    ];
    let mut summary = made_up();
    summary.hosts.push(Json::Null);
    assert_eq!(json_keys(&summary.to_json(), &COUNTED), documented_keys("`summary.json`"));
    let series = series_csv(std::iter::empty());
    assert_eq!(series.trim_end(), documented("`series.csv`").join(","));
    let latency = latency_csv(&Tally::default());
    let defined = documented("`latency.csv`");
    assert_eq!(latency.trim_end(), defined.join(","));
}

#[test]
fn the_text_names_what_matters() {
    let text = made_up().to_text(400);
    for part in [
        "1000 tx/s of 250 bytes offered for 10.0 s; rates, latencies and costs without the first 2 s",
        "10000 of 10000 submitted (100.00 %), 1000 tx/s, 0.2 MB/s; 10 of them after the load had ended",
        "p50 50.2 ms",
        "behind             node 2 by 1,204 rounds at the end",
        "stalls             node 3 silent or behind for 25 s from 6 s on",
        "500, 50.0 a second, 1.20 views each",
        "net_client 12.50, net_server 12.50, node 50.00, tools 25.00; 0.10 cores busy",
        "planned faults     crash:1@3, restart:1@6",
        "recovered          node 1, restarted at 6.0 s: answered after 0.8 s, committed after 1.0 s, not level",
        "followers          node 2; a follower signs nothing, takes no transactions, and counts against f",
        "agreement          true",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let lines = made_up().to_text(80);
    assert!(lines.lines().all(|line| line.chars().count() <= 80), "{lines}");
    assert!(lines.contains("1000 tx/s, 0.2 MB/s;\n                     10 of them after"), "{lines}");
    let mut summary = made_up();
    summary.tally.latency_intra.clear();
    summary.doubtful = 2;
    summary.tally.lost = 3;
    summary.tally.refused = BTreeMap::from([(Refusal::Spent, 4), (Refusal::ExpiryTooFar, 5)]);
    summary.diagnosis.push("2 nodes up of 4, quorum 3".into());
    let text = summary.to_text(400);
    for part in [
        "latency            -\n",
        "quorum 3",
        "4 since an input is spent here, 5 since its expiry is too far ahead for a node that lags behind its shard",
        "chains             2 do not know which coin they have",
        "not well           3 transactions are lost\n",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn a_load_that_ends_within_its_warm_up_has_no_figures_and_is_not_well() {
    let mut summary = made_up();
    (summary.offered_for, summary.measured_for) = (Duration::from_secs(1), Duration::ZERO);
    (summary.used, summary.tally.committed_measured) = (Usage::default(), 0);
    assert_eq!(summary.exit_code(), 1);
    assert!(summary.to_text(400).contains("nothing was measured"), "{}", summary.to_text(400));
    let json = summary.to_json().to_string();
    for figure in ["tps", "offered_tps", "rounds_per_s", "views_per_round", "cores_busy"] {
        assert!(json.contains(&format!("\"{figure}\": null,")), "{figure} in {json}");
    }
}

#[test]
fn unsent_transactions_are_shown_with_their_share() {
    let mut summary = made_up();
    assert!(!summary.to_text(400).contains("never sent"), "it kept up");
    summary.tally.unsent = 3 * summary.tally.submitted;
    let expected = "  never sent         30000 of 40000 offered (75.00 %): the testbed did not keep up; latency counts each as \
                    long as it waited\n";
    assert!(summary.to_text(400).contains(expected), "{}", summary.to_text(400));
}
