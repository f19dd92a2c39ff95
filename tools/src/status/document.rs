//! A look at the nodes as JSON for programs: everything in a status, under the names of `NodeStatus`.

use wire::client::{NodeStatus, TakeoverStatus, Waiting};
use wire::committee::Committee;
use wire::hex;

use super::{Look, Rates, Seen};
use crate::json::Json;

pub(super) fn of(committee: &Committee, look: &Look) -> Json {
    let answering = look.nodes.iter().filter(|seen| seen.answer.is_ok()).count();
    Json::object([
        ("testbed", Json::text(committee.testbed().to_string())),
        ("answering", Json::from(answering)),
        ("forked", Json::from(look.fork().is_some())),
        ("nodes", Json::List(look.nodes.iter().map(node).collect())),
    ])
}

fn node(seen: &Seen) -> Json {
    let mut fields = vec![
        ("node", Json::from(u64::from(seen.node.0))),
        ("shard", Json::from(u64::from(seen.shard.0))),
        ("address", Json::text(&seen.place)),
    ];
    match &seen.answer {
        Ok(status) => {
            fields.push(("behind", Json::or_null(seen.behind)));
            fields.extend(fields_of(status));
        }
        Err(reason) => fields.push(("unreachable", Json::text(reason))),
    }
    if let Some(Rates { tps, rounds_per_s }) = seen.rates {
        fields.extend([("tps", Json::from(tps)), ("rounds_per_s", Json::from(rounds_per_s))]);
    }
    Json::object(fields)
}

pub(super) fn fields_of(status: &NodeStatus) -> Vec<(&'static str, Json)> {
    let counts = |counts: &[(String, u64)]| {
        Json::Object(counts.iter().map(|(name, count)| (name.clone(), Json::from(*count))).collect())
    };
    let ids = |ids: &[u16]| Json::List(ids.iter().map(|id| Json::from(u64::from(*id))).collect());
    vec![
        ("decided", Json::from(status.decided.0)),
        ("executed", Json::from(status.executed.0)),
        ("header", Json::text(hex::encode(&status.header.0))),
        ("certified", Json::from(status.certified.0)),
        ("view", Json::or_null(status.view.map(u64::from))),
        ("waiting_for", status.waiting_for.as_ref().map_or(Json::Null, waiting)),
        ("history_lost", Json::or_null(status.history_lost.map(|round| round.0))),
        ("takeover", status.takeover.as_ref().map_or(Json::Null, takeover)),
        ("follows", Json::from(status.follows)),
        ("too_early", Json::from(status.too_early)),
        ("mempool", Json::from(status.mempool)),
        ("taken", Json::from(status.taken)),
        ("lane_open", Json::from(status.lane_open)),
        ("finished", Json::from(status.finished)),
        ("finished_cross", Json::from(status.finished_cross)),
        ("rejected", Json::from(status.rejected)),
        ("expired", Json::from(status.expired)),
        ("cancelled", Json::from(status.cancelled)),
        ("coins", Json::from(status.coins)),
        ("pool", Json::from(status.pool)),
        ("open_records", Json::from(status.open_records)),
        ("parts_open", Json::from(status.parts_open)),
        ("views", Json::from(status.views)),
        ("peers_out", ids(&status.peers_out)),
        ("peers_in", ids(&status.peers_in)),
        ("bytes_sent", Json::from(status.bytes_sent)),
        ("bytes_sent_to", Json::Object(sent_to(status).collect())),
        ("received", Json::Object(received(status).collect())),
        ("frames_dropped", Json::from(status.frames_dropped)),
        ("restarts", Json::from(status.restarts)),
        ("takeovers", Json::from(status.takeovers)),
        ("takeover_bytes", Json::from(status.takeover_bytes)),
        ("faults", counts(&status.faults)),
        ("refused", counts(&status.refused)),
        ("up_s", Json::from(status.up_ms as f64 / 1e3)),
    ]
}

fn sent_to(status: &NodeStatus) -> impl Iterator<Item = (String, Json)> {
    status.bytes_sent_to.iter().map(|(peer, bytes)| (peer.to_string(), Json::from(*bytes)))
}

fn received(status: &NodeStatus) -> impl Iterator<Item = (String, Json)> {
    let counts = |messages: &u64, bytes: &u64| {
        Json::object([("messages", Json::from(*messages)), ("bytes", Json::from(*bytes))])
    };
    status.received.iter().map(move |(kind, messages, bytes)| (kind.clone(), counts(messages, bytes)))
}

fn takeover(takeover: &TakeoverStatus) -> Json {
    Json::object([
        ("height", Json::from(takeover.height.0)),
        ("here", Json::from(u64::from(takeover.here))),
        ("pieces", Json::from(u64::from(takeover.pieces))),
    ])
}

fn waiting(waiting: &Waiting) -> Json {
    Json::object([
        ("phase", Json::text(&waiting.phase)),
        ("needed", Json::from(waiting.needed)),
        ("from", Json::List(waiting.from.iter().map(|index| Json::from(u64::from(*index))).collect())),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_status_is_written_in_full_and_a_silent_node_with_the_reason() {
        let look = sample();
        let answering = node(&look.nodes[0]).to_string();
        for part in [
            "\"behind\": 3978",
            "\"executed\": 7",
            "\"view\": 0",
            "\"up_s\": 61",
            "\"malformed\": 2",
            "\"peers_in\": [1]",
            "\"bytes_sent_to\": {\n    \"1\": 900\n  }",
            "\"lane_echo\": {\n      \"messages\": 3,\n      \"bytes\": 120\n    }",
        ] {
            assert!(answering.contains(part), "{part} in {answering}");
        }
        let silent = node(&look.nodes[1]).to_string();
        assert!(silent.contains("\"unreachable\": \"Connection refused\"") && !silent.contains("executed"));
    }
}
