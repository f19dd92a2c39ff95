use super::*;

fn summary() -> Summary {
    let mut latency = Histogram::default();
    (1..=100).for_each(|ms| latency.add(ms * 1_000));
    Summary {
        n: 4,
        shards: 1,
        f: 1,
        tx_size: 250,
        seed: 1,
        duration_s: 10.0,
        offered_tps: 1_000.0,
        submitted: 10_000,
        unsent: 0,
        submitted_valid: 10_000,
        committed: 10_000,
        committed_cross: 0,
        tps: 1_000.0,
        rejected: 0,
        rejected_unexpected: 0,
        finished_invalid: 0,
        refunded: 0,
        expired: 0,
        refused: BTreeMap::new(),
        in_flight: 0,
        orphaned: 0,
        lost: 0,
        duplicated: 0,
        resubmitted: 0,
        rounds: 500,
        views: 600,
        round_time: Histogram::default(),
        latency_intra: latency.clone(),
        latency_cross: Histogram::default(),
        rejection: Histogram::default(),
        rejection_final: Histogram::default(),
        latency,
        bytes_sent: 5_000_000,
        frames_dropped: 0,
        restarts: 0,
        faults: vec!["crash:3@3".into()],
        peer_faults: BTreeMap::new(),
        turned_away: BTreeMap::new(),
        agreement: Judgement::True,
        value_conserved: Judgement::True,
        exchange_holds: Judgement::True,
        receipts_hold: Judgement::True,
        findings: Vec::new(),
        diagnosis: Vec::new(),
        unplanned_ends: Vec::new(),
        interrupted: false,
        cpu_s: BTreeMap::from([("node".to_string(), 0.5)]),
        peak_mb: BTreeMap::from([("node".to_string(), 77.5)]),
        commit: None,
        machine: Machine { cores: 2, cpu: "x".into(), mem_gb: 4.0 },
        hosts: Vec::new(),
        options: vec![("rate", Json::from(1_000u64))],
    }
}

#[test]
fn exit_codes_by_what_went_wrong() {
    type Change = fn(&mut Summary);
    let table: [(Change, u8, &str); 22] = [
        (|_| {}, 0, "all well"),
        (|s| s.orphaned = 5, 0, "orphans of a planned crash"),
        (|s| s.expired = 5, 0, "expired"),
        (|s| s.agreement = Judgement::False, 1, "a fork"),
        (|s| s.value_conserved = Judgement::False, 1, "money made"),
        (|s| s.value_conserved = Judgement::NotJudged("x".into()), 1, "a shard of which nobody is left"),
        (|s| s.receipts_hold = Judgement::False, 1, "receipts without blocks"),
        (|s| s.findings.push("x".into()), 1, "a finding"),
        (|s| s.exchange_holds = Judgement::False, 1, "shards disagree"),
        (|s| s.finished_invalid = 1, 1, "a spent coin spent again"),
        (|s| s.rejected = 5, 0, "rejected for a reason"),
        (|s| (s.rejected, s.rejected_unexpected, s.shards) = (5, 1, 2), 0, "a coin in doubt after a crash"),
        (|s| (s.rejected_unexpected, s.shards, s.faults) = (1, 2, Vec::new()), 1, "rejected for no reason"),
        (|s| (s.committed, s.submitted_valid, s.rejected) = (0, 0, 10_000), 0, "nothing valid was offered"),
        (|s| s.lost = 1, 1, "lost"),
        (|s| s.duplicated = 1, 1, "duplicated"),
        (|s| s.in_flight = 1, 1, "in flight"),
        (|s| s.unplanned_ends.push("node 3".into()), 1, "a node died"),
        (|s| (s.committed, s.in_flight) = (0, 100), 3, "nothing committed"),
        (|s| (s.interrupted, s.in_flight) = (true, 100), 130, "Ctrl-C"),
        (|s| (s.interrupted, s.agreement) = (true, Judgement::False), 1, "a fork seen at Ctrl-C"),
        (
            |s| (s.interrupted, s.exchange_holds) = (true, Judgement::NotJudged("x".into())),
            130,
            "parts on their way at Ctrl-C",
        ),
    ];
    for (change, code, why) in table {
        let mut summary = summary();
        change(&mut summary);
        assert_eq!(summary.exit_code(), code, "{why}");
    }
}

#[test]
fn json_has_every_field_of_the_contract_as_numbers() {
    let json = summary().to_json().to_string();
    for field in [
        "nodes",
        "shards",
        "n",
        "f",
        "tx_size",
        "seed",
        "duration_s",
        "offered_tps",
        "offered",
        "unsent",
        "submitted",
        "committed",
        "committed_intra",
        "committed_cross",
        "rejected",
        "refunded",
        "rejected_unexpected",
        "expired",
        "refused",
        "in_flight",
        "orphaned",
        "lost",
        "duplicated",
        "tps",
        "rounds",
        "bytes_sent",
        "frames_dropped",
        "restarts",
    ] {
        let line = json.lines().find(|line| line.starts_with(&format!("  \"{field}\": "))).expect(field);
        let value = line.split(": ").nth(1).unwrap().trim_end_matches(',');
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    for part in [
        "\"round_ms\": {",
        "\"latency_ms\": {\n    \"p50\": 50.175,\n    \"p90\": 90.111,\n    \"p99\": 100,\n    \"max\": 100\n  }",
        "\"latency_intra_ms\": {",
        "\"latency_cross_ms\": {\n    \"p50\": null",
        "\"faults\": [\"crash:3@3\"]",
        "\"agreement\": true",
        "\"value_conserved\": true",
        "\"version\": \"0",
        "\"commit\": null",
        "\"cores\": 2",
        "\"mem_gb\": 4",
        "\"options\": {\n    \"rate\": 1000\n  }",
        "\"cpu_us_per_tx\": {\n    \"node\": 50\n  }",
        "\"peak_mb\": {\n    \"node\": 77.5\n  }",
    ] {
        assert!(json.contains(part), "{part} in {json}");
    }
}

#[test]
fn the_text_names_what_matters() {
    let text = summary().to_text();
    for part in [
        "10000 of 10000 submitted (100.00 %), 1000 tx/s",
        "p50 50.2 ms",
        "1.20 views",
        "agreement          true",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let mut summary = summary();
    summary.latency.clear();
    summary.diagnosis.push("2 nodes up of 4, quorum 3".into());
    let text = summary.to_text();
    assert!(text.contains("latency            -\n") && text.contains("quorum 3"), "{text}");
}

#[test]
fn what_was_never_sent_is_told_with_its_share() {
    let mut summary = summary();
    assert!(!summary.to_text().contains("never sent"), "it kept up");
    summary.unsent = 3 * summary.submitted;
    let expected = format!(
        "  never sent         {} of {} offered (75.00 %): the testbed did not keep up; latency counts each as long as it \
         waited\n",
        summary.unsent,
        4 * summary.submitted
    );
    assert!(summary.to_text().contains(&expected), "{}", summary.to_text());
}
