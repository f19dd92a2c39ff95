//! A strict parser of Prometheus' text format 0.0.4: any scraper accepts the pages that it accepts.
//!
//! The lines of a family are contiguous: HELP, TYPE, then its samples. No family or sample occurs twice. Names of
//! counters end in `_total`, and their values are not negative. A histogram has ascending buckets; the last is +Inf and
//! equals its count.

use std::collections::{BTreeMap, BTreeSet};

/// A parsed page.
pub(crate) struct Page {
    text: String,
    families: Vec<(String, String)>,
    samples: BTreeMap<Series, f64>,
}

/// Name and labels; the labels ascending.
type Series = (String, BTreeMap<String, String>);

impl Page {
    /// The value of a sample with exactly these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        self.samples.get(&(name.to_string(), labels)).copied()
    }

    /// Names and types of all families, by name.
    pub(crate) fn families(&self) -> Vec<(String, String)> {
        let mut families = self.families.clone();
        families.sort();
        families
    }

    /// The unparsed text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Asserts that no counter of this page is less in a later one, except those of `family`.
    pub(crate) fn counters_only_grow_to(&self, later: &Page, family: &str) {
        for (series, value) in &self.samples {
            if series.0.ends_with("_total") && series.0 != family {
                let now = later.samples.get(series).copied();
                assert!(now >= Some(*value), "{series:?} was {value} and is {now:?}");
            }
        }
    }
}

/// Reads a whole page.
pub(crate) fn parse(text: &str) -> Result<Page, String> {
    if !text.ends_with('\n') {
        return Err("the last line does not end".into());
    }
    let mut page = Page { text: text.into(), families: Vec::new(), samples: BTreeMap::new() };
    let mut helped: Option<String> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or(format!("HELP without a text: {line}"))?;
            if !is_name(name) || help.is_empty() || page.families.iter().any(|(known, _)| known == name) {
                return Err(format!("a HELP that can't be: {line}"));
            }
            helped = Some(name.into());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or(format!("TYPE without a type: {line}"))?;
            if helped.take().as_deref() != Some(name) || !["counter", "gauge", "histogram"].contains(&kind) {
                return Err(format!("a TYPE that can't be here: {line}"));
            }
            if name.ends_with("_total") != (kind == "counter") {
                return Err(format!("counters and no others are totals: {line}"));
            }
            page.families.push((name.into(), kind.into()));
        } else {
            let (series, value) = sample(line).ok_or(format!("no sample: {line}"))?;
            let (family, kind) = page.families.last().ok_or(format!("a sample before any TYPE: {line}"))?;
            if helped.is_some() || !belongs(&series, family, kind) {
                return Err(format!("a sample that is not of {kind} {family}: {line}"));
            }
            if (kind == "counter" || kind == "histogram") && (value.is_nan() || value < 0.0) {
                return Err(format!("a {kind} that is negative: {line}"));
            }
            if page.samples.insert(series, value).is_some() {
                return Err(format!("a sample that stands twice: {line}"));
            }
        }
    }
    check_histograms(&page)?;
    Ok(page)
}

fn belongs((name, labels): &Series, family: &str, kind: &str) -> bool {
    match kind {
        "histogram" => match name.strip_prefix(family) {
            Some("_bucket") => labels.contains_key("le"),
            Some("_sum" | "_count") => !labels.contains_key("le"),
            _ => false,
        },
        _ => name == family && !labels.contains_key("le"),
    }
}

/// `name{label="value",...} number`, and nothing else.
fn sample(line: &str) -> Option<(Series, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            if !is_name(label) || label.contains(':') || labels.insert(label.into(), value).is_some() {
                return None;
            }
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = after.strip_prefix('}')?;
                    break;
                }
            }
        }
    }
    let value = number(rest.strip_prefix(' ')?)?;
    is_name(name).then_some(((name.into(), labels), value))
}

/// The text up to the closing quote, unescaped, and the rest after the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        _ if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => text.parse().ok(),
        _ => None,
    }
}

fn is_name(name: &str) -> bool {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(is_first) && name.chars().all(|c| is_first(c) || c.is_ascii_digit())
}

fn check_histograms(page: &Page) -> Result<(), String> {
    for (family, _) in page.families.iter().filter(|(_, kind)| kind == "histogram") {
        let mut buckets: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
        for ((name, labels), count) in &page.samples {
            if *name == format!("{family}_bucket") {
                let mut others = labels.clone();
                let bound =
                    others.remove("le").and_then(|le| number(&le)).ok_or("a bound that is no number")?;
                buckets.entry(others).or_default().push((bound, *count));
            }
        }
        for (labels, mut buckets) in buckets {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            let ascending = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
            let count = page.samples.get(&(format!("{family}_count"), labels.clone()));
            let sum = page.samples.get(&(format!("{family}_sum"), labels.clone()));
            let last = buckets.last().filter(|(bound, _)| *bound == f64::INFINITY).map(|(_, count)| count);
            if !ascending || sum.is_none() || last.is_none() || last != count {
                return Err(format!("a histogram that does not add up: {family} {labels:?}"));
            }
        }
        let names: BTreeSet<&str> = page.samples.keys().map(|(name, _)| name.as_str()).collect();
        if !names.contains(format!("{family}_bucket").as_str()) {
            return Err(format!("a histogram without buckets: {family}"));
        }
    }
    Ok(())
}

#[test]
fn the_parser_refuses_other_text() {
    let head = "# HELP a_total x\n# TYPE a_total counter\n";
    let page = parse(&format!("{head}a_total{{p=\"q\\\"\\\\\\n,}}\",r=\"\"}} 3\na_total 4\n")).unwrap();
    assert_eq!(page.value("a_total", &[("p", "q\"\\\n,}"), ("r", "")]), Some(3.0));
    for wrong in [
        "a_total",
        "a_total ",
        "a_total  1",
        "a_total one",
        "a_total 1 x",
        "a_total -1",
        "a_total{} 1",
        "a_total{p=q} 1",
        "a_total{p=\"q} 1",
        "a_total{p=\"\\q\"} 1",
        "a_total{p=\"q\",} 1",
        "a_total{p=\"q\",p=\"r\"} 1",
        "a_total{1=\"q\"} 1",
        "b_total 1",
        "a_total 1\na_total 2",
        "# HELP a_total y\n# TYPE a_total counter",
        "# TYPE b_total counter",
        "# HELP b x\n# TYPE b counter",
        "# HELP b x\n# TYPE b text",
        "# HELP h x\n# TYPE h histogram",
        "# HELP h x\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1",
        "# HELP h x\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1",
        "# HELP h x\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 2",
    ] {
        assert!(parse(&format!("{head}{wrong}\n")).is_err(), "{wrong}");
    }
    assert!(parse("a_total 1\n").is_err(), "no TYPE");
    assert!(parse(head.trim_end()).is_err(), "no end");
}
