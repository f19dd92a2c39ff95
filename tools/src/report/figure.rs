//! A figure of a report: what it shows, drawn wide and narrow, and on what it rests.

use super::markup::Element;
use super::matrix::Matrix;
use super::plot::Plot;
use super::rows::Rows;
use super::run::RunFiles;
use super::scale::number;
use crate::json::Json;

/// The widths, in pixels, for which each figure is drawn: that of a page or a column of a wide one, and that of a
/// telephone.
pub(super) const WIDTHS: [(&str, f64); 2] = [("wide", 760.0), ("narrow", 350.0)];

/// Something that is drawn.
#[derive(Clone, Debug)]
pub(super) enum Drawing {
    Plot(Plot),
    Rows(Rows),
    Matrix(Matrix),
    /// Drawn already, for each of the widths.
    Drawn(Box<[Element; WIDTHS.len()]>),
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    /// Its anchor.
    pub(super) id: &'static str,
    pub(super) title: String,
    /// What a reader sees in it, in a sentence; it may be empty.
    pub(super) finding: String,
    pub(super) drawings: Vec<Drawing>,
    /// What the numbers in it stand for.
    pub(super) list: Vec<String>,
    /// What is drawn, how many of what it rests on, and what was offered.
    pub(super) basis: String,
}

impl Drawing {
    fn draw(&self, index: usize) -> Element {
        let (_, width) = WIDTHS[index];
        match self {
            Drawing::Plot(plot) => plot.draw(width),
            Drawing::Rows(rows) => rows.draw(width),
            Drawing::Matrix(matrix) => matrix.draw(width),
            Drawing::Drawn(drawn) => drawn[index].clone(),
        }
    }

    /// Marks that have numbers in a drawing, as a list.
    fn marks(&self, index: usize) -> Option<Element> {
        let Drawing::Plot(plot) = self else { return None };
        let marks = plot.numbered_marks(WIDTHS[index].1)?;
        let items = marks.into_iter().map(|mark| Element::of("li", mark));
        Some(Element::new("ol").class("marks").children(items))
    }
}

impl Figure {
    pub(super) fn to_element(&self) -> Element {
        let mut figure = Element::new("figure").with("id", self.id).child(Element::of("h2", &self.title));
        if !self.finding.is_empty() {
            figure = figure.child(Element::of("p", &self.finding).class("finding"));
        }
        for (index, (class, _)) in WIDTHS.iter().enumerate() {
            let drawn = self
                .drawings
                .iter()
                .flat_map(|drawing| [Some(drawing.draw(index)), drawing.marks(index)].into_iter().flatten());
            figure = figure.child(Element::new("div").class(class).children(drawn));
        }
        if !self.list.is_empty() {
            let items = self.list.iter().map(|item| Element::of("li", item));
            figure = figure.child(Element::new("ol").class("steps").children(items));
        }
        figure.child(Element::of("figcaption", &self.basis))
    }
}

/// What was offered to a run, in words.
pub(super) fn offered(run: &RunFiles) -> String {
    let Some(tps) = run.number(&["offered_tps"]) else { return "what was offered is not known".into() };
    let duration = run.number(&["duration_s"]).map(|s| format!(" for {} s", number(s))).unwrap_or_default();
    match run.at(&["options", "rate"]) {
        Some(Json::Text(rate)) if rate == "max" => {
            format!("{} tx/s offered{duration}, as much as it took (closed loop)", number(tps))
        }
        _ => format!("{} tx/s offered{duration}", number(tps)),
    }
}

/// The testbed, in words.
pub(super) fn testbed(run: &RunFiles) -> String {
    let (Some(n), shards) = (run.whole("n"), run.shards()) else {
        return "a testbed that is not known".into();
    };
    let nodes = if n == 1 { "1 node".into() } else { format!("{n} nodes") };
    if shards == 1 { nodes } else { format!("{shards} shards of {nodes}") }
}

/// The basis of a figure: how many of what, and what was offered to which testbed.
pub(super) fn basis(run: &RunFiles, what: &str) -> String {
    format!("{what}; {}; {}.", testbed(run), offered(run))
}

/// `N = …` of things.
pub(super) fn n_of(count: f64, things: &str) -> String {
    format!("N = {} {things}", number(count))
}

/// The quantiles of 1, 25, 50, 75 and 99 % of values, which are sorted for it; `None` if there are none.
pub(super) fn quantiles(values: &mut [f64]) -> Option<[f64; 5]> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some([0.01, 0.25, 0.5, 0.75, 0.99].map(|share| values[(last as f64 * share).round() as usize]))
}
