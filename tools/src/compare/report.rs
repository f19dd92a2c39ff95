//! Two sides compared: for people and for programs.

use std::collections::BTreeSet;

use super::figures::{Better, FIGURES, Figure, Grain};
use super::noise::Group;
use super::run::Run;
use crate::grid::{Side, aligned, aligned_within, beside, fits, wrapped};
use crate::json::Json;
use crate::load::Histogram;

/// Two sides, figure by figure.
pub(super) struct Comparison {
    sides: [Vec<Run>; 2],
    rows: Vec<Row>,
}

/// One figure of both sides.
struct Row {
    figure: &'static Figure,
    groups: [Option<Group>; 2],
    verdict: Verdict,
}

/// The verdict on a difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// There is none.
    Equal,
    /// It may be chance.
    WithinNoise,
    /// B is better.
    Better,
    /// B is worse.
    Worse,
    /// It is more than chance, and neither better nor worse.
    Differs,
    /// Too few runs to know.
    TooFew,
    /// One side has no such figure.
    OneSided,
}

impl Verdict {
    fn of(figure: &Figure, groups: &[Option<Group>; 2]) -> Verdict {
        let [Some(a), Some(b)] = groups else { return Verdict::OneSided };
        let difference = b.mean() - a.mean();
        let Some(noise) = noise(figure, a, b).filter(|_| a.count().min(b.count()) >= RUNS_MIN) else {
            let is_equal = difference == 0.0 && a.range() == b.range();
            return if is_equal { Verdict::Equal } else { Verdict::TooFew };
        };
        match figure.better {
            _ if difference == 0.0 && a.range() == b.range() => Verdict::Equal,
            // A step exactly is no more than a step, however it is rounded.
            _ if difference.abs() <= noise * (1.0 + 1e-9) => Verdict::WithinNoise,
            Better::Neither => Verdict::Differs,
            Better::More if difference > 0.0 => Verdict::Better,
            Better::Less if difference < 0.0 => Verdict::Better,
            Better::More | Better::Less => Verdict::Worse,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Verdict::Equal => "equal",
            Verdict::WithinNoise => "within noise",
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::Differs => "differs",
            Verdict::TooFew => "too few runs",
            Verdict::OneSided => "-",
        }
    }
}

const NAMES: [&str; 2] = ["A", "B"];
/// Runs of a side from which on a difference is judged: two hardly show how far a third may lie.
const RUNS_MIN: usize = 3;

/// The bound on the difference of a figure's two means that chance explains.
fn noise(figure: &Figure, a: &Group, b: &Group) -> Option<f64> {
    let step = match figure.grain {
        Grain::Exact => 0.0,
        Grain::Bucket => Histogram::bucket_us(a.mean().max(b.mean()) * 1e3) / 1e3,
    };
    a.noise(b, step)
}

impl Comparison {
    /// Compares two sides, each of at least one run.
    pub(super) fn of(a: Vec<Run>, b: Vec<Run>) -> Comparison {
        let sides = [a, b];
        let group = |side: &[Run], index: usize| {
            Group::of(side.iter().filter_map(|run| run.figures[index]).collect())
        };
        let rows = FIGURES.iter().enumerate().map(|(index, figure)| {
            let groups = [group(&sides[0], index), group(&sides[1], index)];
            let verdict = Verdict::of(figure, &groups);
            Row { figure, groups, verdict }
        });
        let rows = rows.filter(Row::is_worth_telling).collect();
        Comparison { sides, rows }
    }

    /// For people, for a terminal of so many columns.
    pub(super) fn to_text(&self, width: usize) -> String {
        let mut text = String::new();
        for (name, runs) in NAMES.iter().zip(&self.sides) {
            let paths: Vec<String> = runs.iter().map(|run| run.path.display().to_string()).collect();
            text += &beside(name, &paths.join(", "), 3, width);
        }
        let mut rows = vec![["figure", "A", "B", "B/A", "noise", "", ""].map(String::from).to_vec()];
        rows.extend(self.rows.iter().map(Row::cells));
        let sides = [Side::Left, Side::Right, Side::Right, Side::Right, Side::Right, Side::Left, Side::Left];
        text += &format!("\n{}", aligned_within(width, &sides, &rows, 2));
        text += &format!("\n{}\n", self.differing_facts_text(width));
        text + &self.notes().iter().map(|note| wrapped(note, 0, width)).collect::<String>()
    }

    /// A table; where that is too wide, the values of both sides below the name of what differs.
    fn differing_facts_text(&self, width: usize) -> String {
        let facts = self.differing_facts();
        if facts.is_empty() {
            return "Options (but for places), machines and versions are the same.\n".into();
        }
        let mut rows = vec![["what differs", "A", "B"].map(String::from).to_vec()];
        rows.extend(facts.iter().map(|(name, [a, b])| [name, a, b].map(String::clone).to_vec()));
        let table = aligned(&[Side::Left; 3], &rows, 2);
        if fits(width, &table) {
            return table;
        }
        let lists = facts.iter().map(|(name, [a, b])| {
            format!("    {name}\n{}{}", beside("      A", a, 9, width), beside("      B", b, 9, width))
        });
        format!("  what differs\n{}", lists.collect::<String>())
    }

    /// The same for programs.
    pub(super) fn to_json(&self) -> Json {
        let side = |runs: &[Run]| {
            Json::List(runs.iter().map(|run| Json::text(run.path.display().to_string())).collect())
        };
        let fact = |(name, [a, b]): (String, [String; 2])| {
            Json::object([("what", Json::text(name)), ("a", Json::text(a)), ("b", Json::text(b))])
        };
        Json::object([
            ("a", side(&self.sides[0])),
            ("b", side(&self.sides[1])),
            ("figures", Json::List(self.rows.iter().map(Row::to_json).collect())),
            ("differs", Json::List(self.differing_facts().into_iter().map(fact).collect())),
            ("notes", Json::List(self.notes().into_iter().map(Json::text).collect())),
        ])
    }

    /// Options, machine and version where the sides differ, with all that each side has.
    fn differing_facts(&self) -> Vec<(String, [String; 2])> {
        let mut facts = Vec::new();
        for name in self.fact_names() {
            let values = self.sides.each_ref().map(|runs| values_of(runs, &name));
            if values[0] != values[1] {
                facts.push((name, values.map(|values| values.into_iter().collect::<Vec<_>>().join(", "))));
            }
        }
        facts
    }

    /// The names of all facts, each once, in the order in which they are first met.
    fn fact_names(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let all = self.sides.iter().flatten().flat_map(|run| &run.facts);
        all.map(|(name, _)| name.clone()).filter(|name| seen.insert(name.clone())).collect()
    }

    /// Warnings to be read first.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for run in self.sides.iter().flatten() {
            if let Some(trouble) = &run.trouble {
                notes.push(format!("{} is not to be trusted: {trouble}.", run.path.display()));
            }
        }
        for (name, runs) in NAMES.iter().zip(&self.sides) {
            let mixed = self.fact_names().into_iter().filter(|fact| {
                // Repeats with different seeds are intended.
                fact != "option --seed" && values_of(runs, fact).len() > 1
            });
            let mixed: Vec<String> = mixed.collect();
            if !mixed.is_empty() {
                let mixed = mixed.join(", ");
                notes.push(format!("The runs of {name} are not of the same: they differ in {mixed}."));
            }
        }
        if self.sides.iter().any(|runs| runs.len() < RUNS_MIN) {
            notes.push(format!(
                "Fewer than {RUNS_MIN} runs of a side cannot separate a difference from noise; give more of each, joined by \
                 commas."
            ));
        } else {
            notes.push(
                "Of twenty figures that do not differ, one is called better, worse or different by chance."
                    .into(),
            );
        }
        notes
    }
}

/// All values that a fact has in these runs; a dash where it has none.
fn values_of(runs: &[Run], name: &str) -> BTreeSet<String> {
    let value = |run: &Run| run.facts.iter().find(|(fact, _)| fact == name).map(|(_, value)| value.clone());
    runs.iter().map(|run| value(run).unwrap_or_else(|| "-".into())).collect()
}

impl Row {
    /// Figures that no run has, and counts that are zero everywhere, are left out.
    fn is_worth_telling(&self) -> bool {
        self.groups.iter().flatten().any(|group| group.range() != (0.0, 0.0))
    }

    /// How much of A's mean is noise, and B's mean by A's.
    fn noise(&self) -> Option<f64> {
        let [Some(a), Some(b)] = &self.groups else { return None };
        noise(self.figure, a, b)
    }

    fn ratio(&self) -> Option<f64> {
        let [Some(a), Some(b)] = &self.groups else { return None };
        (a.mean() != 0.0).then(|| b.mean() / a.mean())
    }

    fn cells(&self) -> Vec<String> {
        let [a, b] = self
            .groups
            .each_ref()
            .map(|group| group.as_ref().map_or("-".into(), |group| short(group.mean())));
        vec![
            self.figure.name.into(),
            a,
            b,
            self.ratio().map_or("-".into(), |ratio| format!("{ratio:.3}")),
            self.noise().map_or("?".into(), |noise| format!("± {}", short(noise))),
            self.figure.unit.into(),
            self.verdict.name().into(),
        ]
    }

    fn to_json(&self) -> Json {
        let group = |group: &Option<Group>| match group {
            Some(group) => Json::object([
                ("mean", Json::from(group.mean())),
                ("min", Json::from(group.range().0)),
                ("max", Json::from(group.range().1)),
                ("runs", Json::from(group.count())),
            ]),
            None => Json::Null,
        };
        Json::object([
            ("name", Json::text(self.figure.name)),
            ("unit", Json::text(self.figure.unit)),
            ("a", group(&self.groups[0])),
            ("b", group(&self.groups[1])),
            ("ratio", Json::or_null(self.ratio())),
            ("noise", Json::or_null(self.noise())),
            ("verdict", Json::text(self.verdict.name())),
        ])
    }
}

/// A number with as many decimals as it deserves.
fn short(number: f64) -> String {
    match number.abs() {
        0.0 => "0".into(),
        size if size >= 1_000.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use bft::prng::Prng;

    use super::super::run::{sample, sample_of};
    use super::*;
    use crate::testing::{documented_keys, json_keys};

    #[test]
    fn two_single_runs_stand_side_by_side_without_a_verdict() {
        let comparison = Comparison::of(vec![sample("old", 1_000.0, 7)], vec![sample("new", 1_100.0, 9)]);
        let expected = "\
A  old
B  new

  figure          A     B    B/A  noise
  committed    1000  1100  1.100      ?  tx/s  too few runs
  latency p50  5.50  5.50  1.000      ?  ms    equal
  rounds       50.0  50.0  1.000      ?  1/s   equal

  what differs   A  B
  option --rate  7  9

Fewer than 3 runs of a side cannot separate a difference from noise; give more
of each, joined by commas.
";
        assert_eq!(comparison.to_text(80), expected);
        assert_eq!(comparison.to_text(120).lines().count() + 1, expected.lines().count());
    }

    #[test]
    fn facts_that_are_too_long_for_a_table_stand_below_their_names() {
        let side = |beginning: &str| -> Vec<Run> {
            let runs = (0..9).map(|run| sample(&format!("{beginning}-{run}/summary.json"), 123_456.7, 7));
            runs.map(|mut run| {
                run.facts
                    .push(("processor".into(), format!("a {beginning} processor of many words at 3.00 GHz")));
                run
            })
            .collect()
        };
        let text = Comparison::of(side("old"), side("new")).to_text(80);
        assert!(fits(80, &text), "{text}");
        let expected = "  what differs\n    processor\n      A  a old processor of many words at 3.00 GHz\n      \
                        B  a new processor";
        assert!(text.contains(expected), "{text}");
    }

    fn verdict_on_tps(a: &[f64], b: &[f64]) -> &'static str {
        let side = |numbers: &[f64]| numbers.iter().map(|tps| sample("x", *tps, 7)).collect();
        let comparison = Comparison::of(side(a), side(b));
        comparison.rows.iter().find(|row| row.figure.name == "committed").unwrap().verdict.name()
    }

    #[test]
    fn repeated_runs_separate_differences_from_noise() {
        assert_eq!(verdict_on_tps(&[100.0, 110.0, 105.0], &[103.0, 112.0, 104.0]), "within noise");
        assert_eq!(verdict_on_tps(&[100.0, 101.0, 102.0], &[150.0, 151.0, 152.0]), "better");
        assert_eq!(verdict_on_tps(&[150.0, 151.0, 152.0], &[100.0, 101.0, 102.0]), "worse");
        assert_eq!(verdict_on_tps(&[100.0, 100.0], &[100.0, 100.0]), "equal");
        assert_eq!(verdict_on_tps(&[150.0, 151.0, 152.0], &[100.0, 101.0]), "too few runs");
    }

    #[test]
    fn quantiles_a_bucket_apart_are_noise() {
        // 5.5 ms lie in a bucket of 0.128 ms: the same load may be shown as either end of it in all runs of a side.
        let verdict = |p50: f64| {
            let side = |p50: f64| (0..3).map(|_| sample_of("x", 1.0, 7, p50)).collect();
            let comparison = Comparison::of(side(5.503), side(p50));
            comparison.rows.iter().find(|row| row.figure.name == "latency p50").unwrap().verdict.name()
        };
        assert_eq!(verdict(5.631), "within noise");
        assert_eq!(verdict(5.759), "worse");
    }

    /// Of runs that do not differ, how many of 1,000 comparisons of a figure find that they do: of an exact one and of
    /// one by buckets.
    fn false_alarms(runs: usize) -> [usize; 2] {
        let mut prng = Prng::new(runs as u64);
        // The sum of twelve uniform numbers is nearly normal, with deviation 1.
        let mut normal = |mean: f64, deviation: f64| {
            let sum: f64 = (0..12).map(|_| prng.below(1 << 20) as f64 / f64::from(1 << 20)).sum();
            mean + deviation * (sum - 6.0)
        };
        let mut alarms = [0; 2];
        for _ in 0..1_000 {
            let mut side = || -> Vec<Run> {
                let run = |_| {
                    let mut latency = Histogram::default();
                    let mean_us = normal(5_500.0, 30.0);
                    (0..50).for_each(|_| latency.add(normal(mean_us, 400.0) as u64));
                    let p50_ms = latency.quantile_us(500).unwrap() as f64 / 1e3;
                    sample_of("x", normal(1_000.0, 20.0), 7, p50_ms)
                };
                (0..runs).map(run).collect()
            };
            let (a, b) = (side(), side());
            let comparison = Comparison::of(a, b);
            for (alarms, name) in alarms.iter_mut().zip(["committed", "latency p50"]) {
                let row = comparison.rows.iter().find(|row| row.figure.name == name).unwrap();
                *alarms += usize::from(matches!(row.verdict, Verdict::Better | Verdict::Worse));
            }
        }
        alarms
    }

    #[test]
    fn runs_that_do_not_differ_are_called_different_as_seldom_as_it_claims() {
        assert_eq!(false_alarms(2), [0, 0], "too few to call anything");
        for runs in [3, 5] {
            let [exact, bucket] = false_alarms(runs);
            // 50 of 1,000 are claimed; three deviations of that count are 21.
            assert!((20..=71).contains(&exact) && bucket <= 71, "{runs} runs: {exact} and {bucket} of 1,000");
        }
    }

    #[test]
    fn runs_that_do_not_belong_together_are_named() {
        let comparison =
            Comparison::of(vec![sample("a", 1.0, 7), sample("b", 1.0, 8)], vec![sample("c", 1.0, 7)]);
        let text = comparison.to_text(120);
        assert!(text.contains("The runs of A are not of the same: they differ in option --rate."), "{text}");
        assert!(text.contains("option --rate  7, 8  7\n"), "{text}");
        let json = Json::parse(&comparison.to_json().to_string());
        assert!(json.is_ok(), "{json:?}");
        assert_eq!(json_keys(&json.unwrap(), &[]), documented_keys("`tools compare`"));
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [(0.0, "0"), (12_345.6, "12346"), (99.96, "100.0"), (-2.345, "-2.35")] {
            assert_eq!(short(number), text);
        }
    }
}
