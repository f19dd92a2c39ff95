//! A report as one self-contained file: a headline, figures, and what was run. No script, nothing from elsewhere.

use super::figure::{Figure, offered, testbed};
use super::markup::Element;
use super::run::RunFiles;
use super::scale::{bytes, number};
use crate::json::Json;

/// No character that HTML escapes stands in it, since it goes through the same writer as texts.
const STYLE: &str = include_str!("page.css");

/// The page of one run.
pub(super) fn of_run(run: &RunFiles, figures: &[Figure]) -> String {
    let title = format!("{}, {}", testbed(run), offered(run));
    let header = Element::new("header")
        .child(Element::of("p", format!("dumbo-testbed · {}", run.name())).class("kicker"))
        .child(Element::of("h1", sentence(&title)))
        .child(verdict(run))
        .child(Element::new("div").class("cards").children(cards(run)));
    let facts = Element::new("section").class("facts").children(facts(run));
    page(&title, &run.missing, header, figures, facts)
}

/// A page with this header above the figures and these facts below them.
pub(super) fn page(
    title: &str,
    missing: &[String],
    header: Element,
    figures: &[Figure],
    facts: Element,
) -> String {
    let links = figures.iter().map(|figure| {
        Element::new("li").child(Element::of("a", &figure.title).with("href", format!("#{}", figure.id)))
    });
    let nav = Element::new("nav").child(Element::new("ul").children(links));
    let main = Element::new("main").children(figures.iter().map(Figure::to_element));
    let mut body = Element::new("body").child(header);
    if !missing.is_empty() {
        let items = missing.iter().map(|missing| Element::of("li", missing));
        let note = Element::new("section").class("missing").child(Element::of("h2", "What is missing"));
        body = body.child(note.child(Element::new("ul").children(items)));
    }
    let body = body.child(nav).child(main).child(facts);
    let head = Element::new("head")
        .child(Element::new("meta").with("charset", "utf-8"))
        .child(
            Element::new("meta")
                .with("name", "viewport")
                .with("content", "width=device-width, initial-scale=1"),
        )
        .child(Element::of("title", title))
        .child(Element::of("style", STYLE));
    format!("<!DOCTYPE html>\n{}\n", Element::new("html").with("lang", "en").child(head).child(body))
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// The answers of the run, and why it is not well if it is not.
fn verdict(run: &RunFiles) -> Element {
    let answers = [
        ("agreement", "nodes agree"),
        ("value_conserved", "no coin made or lost"),
        ("exchange_holds", "shards fit together"),
        ("receipts_hold", "receipts are true"),
    ];
    let Some(code) = run.whole("exit_code") else {
        return Element::of("p", "No verdict: the run has no summary.").class("verdict unknown");
    };
    let answers = answers.map(|(name, holds)| match run.at(&[name]) {
        Some(Json::Bool(true)) => format!("✓ {holds}"),
        Some(Json::Bool(false)) => format!("✗ NOT: {holds}"),
        _ => format!("? not judged: {holds}"),
    });
    let (class, word) = match code {
        0 => ("well", "All well"),
        130 => ("unknown", "Interrupted"),
        3 => ("wrong", "Nothing was committed"),
        _ => ("wrong", "Not well"),
    };
    let mut all = Element::new("div").class(format!("verdict {class}"));
    all = all.child(
        Element::new("p").child(Element::of("strong", word)).text(format!(" · {}", answers.join(" · "))),
    );
    let reasons = ["findings", "complaints", "unplanned_ends", "not_judged"];
    let reasons: Vec<String> = reasons.iter().flat_map(|name| run.texts(name)).collect();
    if reasons.is_empty() {
        return all;
    }
    all.child(Element::new("ul").children(reasons.iter().map(|reason| Element::of("li", reason))))
}

/// The figures of the headline, each with its unit and what it is of.
fn cards(run: &RunFiles) -> Vec<Element> {
    let card = |value: Option<String>, unit: &str, what: &str| {
        let value = value.unwrap_or_else(|| "–".into());
        Element::new("div")
            .class("card")
            .child(Element::new("p").child(Element::of("strong", value)).text(format!(" {unit}")))
            .child(Element::of("p", what).class("what"))
    };
    let of = |path: &[&str]| run.number(path).map(number);
    let mut cards = vec![card(of(&["tps"]), "tx/s", "committed while measured")];
    let kinds: &[(&str, &str)] = match run.shards() {
        1 => &[("latency_ms", "")],
        _ => &[("latency_intra_ms", " within a shard"), ("latency_cross_ms", " across shards")],
    };
    for (name, whose) in kinds {
        cards.push(card(of(&[name, "p50"]), "ms", &format!("median latency{whose}")));
        cards.push(card(of(&[name, "p99"]), "ms", &format!("99 % quantile{whose}")));
    }
    cards.push(card(of(&["rounds_per_s"]), "1/s", "rounds a second of a shard"));
    cards.push(card(of(&["committed"]), "tx", "committed in the whole run"));
    cards.push(card(run.number(&["bytes_per_tx"]).map(bytes), "", "sent between nodes for a transaction"));
    cards
}

/// Options, machine and version, faults and recoveries, as tables.
fn facts(run: &RunFiles) -> Vec<Element> {
    let mut all = Vec::new();
    if let Some(Json::List(recoveries)) =
        run.at(&["recoveries"]).filter(|list| **list != Json::List(Vec::new()))
    {
        all.push(Element::of("h2", "Recoveries"));
        let columns = [
            ("node", "node"),
            ("after", "after fault"),
            ("at_s", "over at (s)"),
            ("answered_s", "answered after (s)"),
            ("first_commit_s", "first commit after (s)"),
            ("level_s", "level after (s)"),
        ];
        let head = columns.iter().map(|(_, title)| title.to_string()).collect();
        let row =
            |one: &Json| columns.iter().map(|(name, _)| one.field(name).map_or("–".into(), plain)).collect();
        all.push(table(head, recoveries.iter().map(row).collect()));
    }
    let faults = run.faults();
    if !faults.is_empty() {
        all.push(Element::of("h2", "Planned faults"));
        all.push(Element::new("ul").children(faults.iter().map(|fault| Element::of("li", fault))));
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    for name in ["version", "commit", "testbed", "seed"] {
        rows.extend(run.at(&[name]).map(|value| vec![name.into(), plain(value)]));
    }
    if let Some(Json::Object(machine)) = run.at(&["machine"]) {
        rows.extend(machine.iter().map(|(name, value)| vec![format!("machine: {name}"), plain(value)]));
    }
    if let Some(Json::List(hosts)) = run.at(&["hosts"]) {
        rows.extend(hosts.iter().map(|host| vec!["host".into(), plain(host)]));
    }
    if let Some(Json::Object(options)) = run.at(&["options"]) {
        rows.extend(options.iter().map(|(name, value)| vec![format!("--{name}"), plain(value)]));
    }
    if !rows.is_empty() {
        all.push(Element::of("h2", "What was run"));
        all.push(table(vec!["option or fact".into(), "value".into()], rows));
    }
    all
}

/// A table with a head.
pub(super) fn table(head: Vec<String>, rows: Vec<Vec<String>>) -> Element {
    let cells = |name: &'static str, cells: Vec<String>| {
        Element::new("tr").children(cells.into_iter().map(|cell| Element::of(name, cell)))
    };
    let body = Element::new("tbody").children(rows.into_iter().map(|row| cells("td", row)));
    let table = Element::new("table").child(Element::new("thead").child(cells("th", head))).child(body);
    Element::new("div").class("scroll").child(table)
}

/// A value as people write it.
pub(super) fn plain(value: &Json) -> String {
    match value {
        Json::Null => "–".into(),
        Json::Text(text) => text.clone(),
        Json::Bool(true) => "yes".into(),
        Json::Bool(false) => "no".into(),
        Json::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name} {}", plain(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
        Json::List(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Json::Int(_) | Json::Float(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::markup::check;
    use super::*;

    #[test]
    fn the_style_needs_no_escapes_and_loads_nothing() {
        assert!(!STYLE.contains(['<', '>', '&', '"']), "the writer would escape these");
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"), "a report stands alone");
    }

    #[test]
    fn a_run_without_a_summary_has_a_page_that_says_so() {
        let run = RunFiles { missing: vec!["no <summary>".into()], ..RunFiles::default() };
        let text = of_run(&run, &[]);
        check(&text).unwrap();
        assert!(
            text.contains("No verdict")
                && text.contains("no &lt;summary&gt;")
                && text.contains("What is missing")
        );
        assert!(!text.contains("<script"));
    }

    #[test]
    fn the_headline_has_the_verdict_with_its_reasons_and_figures_with_units() {
        let summary = "{\"n\": 4, \"shards\": 2, \"exit_code\": 1, \"agreement\": false, \"tps\": 1234.5, \
                       \"offered_tps\": 2000, \"latency_cross_ms\": {\"p50\": 7}, \"findings\": [\"a <fork>\"], \
                       \"options\": {\"rate\": 2000, \"x\": null}, \"recoveries\": [{\"node\": 3, \"at_s\": 6}]}";
        let run = RunFiles { summary: Some(Json::parse(summary).unwrap()), ..RunFiles::default() };
        let text = of_run(&run, &[]);
        check(&text).unwrap();
        for part in [
            "✗ NOT: nodes agree",
            "a &lt;fork&gt;",
            "<strong>1,235</strong> tx/s",
            "2 shards of 4 nodes, 2,000 tx/s offered",
            "median latency across shards",
            "<td>--rate</td><td>2000</td>",
            "<td>3</td><td>–</td><td>6</td><td>–</td>",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
