//! Rows of bars or of ranges: one figure each for many names. A range shows quantiles of one quantity.

use super::markup::Element;
use super::plot::{Axis, label, path, svg, text_width};
use super::scale::tick_text;

const ROW: f64 = 24.0;
/// A line of words above a bar.
const WORDS: f64 = 16.0;
/// Names are bold, and so much wider.
const BOLD: f64 = 1.1;
/// Names take at most this share of the width; longer ones stand on a line of their own.
const NAME_SHARE: f64 = 0.36;

/// What a row shows.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Shown {
    /// From the axis to a value.
    Bar(f64),
    /// The quantiles of 1, 25, 50, 75 and 99 %: a line, a box and a stroke.
    Range([f64; 5]),
}

/// A row.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) shown: Shown,
    /// Its figures in words, units included.
    pub(super) text: String,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub(super) x: Axis,
    pub(super) rows: Vec<Row>,
}

impl Rows {
    /// Draws them for a width: names on the left, figures in words above the bars or beside them.
    pub(super) fn draw(&self, width: f64) -> Element {
        let widest =
            |texts: &mut dyn Iterator<Item = &String>| texts.map(|text| text_width(text)).fold(0.0, f64::max);
        let names = BOLD * widest(&mut self.rows.iter().map(|row| &row.name));
        let texts = widest(&mut self.rows.iter().map(|row| &row.text));
        let is_beside = names <= width * NAME_SHARE && names + texts + 180.0 <= width;
        // Name and figures stand on one line above the bar if both have room there.
        let lines = if names + texts + 24.0 <= width { 1.0 } else { 2.0 };
        let (left, right, step) = match is_beside {
            true => (names + 12.0, width - texts - 16.0, ROW),
            false => (8.0, width - 16.0, ROW + WORDS * lines),
        };
        let bottom = step * self.rows.len() as f64 + 4.0;
        let x = self.x.scale.between(left, right);
        let mut all = Vec::new();
        let mut free_from = f64::MIN;
        for tick in x.ticks(((right - left) / 70.0) as usize) {
            let (at, text) = (x.at(tick), tick_text(tick));
            all.push(path(&[(at, 0.0), (at, bottom)]).class("grid"));
            let half = text_width(&text) / 2.0;
            if at - half >= free_from && at - half >= 0.0 && at + half <= width {
                free_from = at + half + 6.0;
                all.push(label(at, bottom + 14.0, &text).class("tick").with("text-anchor", "middle"));
            }
        }
        let axis = label((left + right) / 2.0, bottom + 30.0, &self.x.label).class("axis");
        all.push(axis.with("text-anchor", "middle"));
        for (index, row) in self.rows.iter().enumerate() {
            let top = step * index as f64;
            let middle = top + if is_beside { ROW / 2.0 } else { ROW / 2.0 + WORDS * lines };
            if is_beside {
                all.push(
                    label(left - 8.0, middle + 4.0, &row.name)
                        .class("tick strong")
                        .with("text-anchor", "end"),
                );
                all.push(label(right + 12.0, middle + 4.0, &row.text).class("tick"));
            } else {
                all.push(label(left, top + 14.0, &row.name).class("tick strong"));
                let (x, y) = (width - 4.0, top + 14.0 + WORDS * (lines - 1.0));
                all.push(label(x, y, &row.text).class("tick").with("text-anchor", "end"));
            }
            all.extend(shown(row, middle, |value| x.at(value)));
        }
        svg(width, bottom + 38.0, &self.x.label).children(all)
    }
}

fn shown(row: &Row, middle: f64, at: impl Fn(f64) -> f64) -> Vec<Element> {
    let colour = row.colour;
    let bar = |from: f64, to: f64, high: f64, class: String| {
        let rect = Element::new("rect").class(class).at("x", from).at("y", middle - high / 2.0);
        rect.at("width", (to - from).max(1.0)).at("height", high)
    };
    match row.shown {
        Shown::Bar(value) => vec![bar(at(f64::MIN), at(value), 12.0, format!("f{colour}"))],
        Shown::Range([first, lower, median, upper, last]) => vec![
            path(&[(at(first), middle), (at(last), middle)]).class(format!("s{colour}")),
            bar(at(lower), at(upper), 12.0, format!("soft f{colour}")),
            path(&[(at(median), middle - 8.0), (at(median), middle + 8.0)]).class(format!("s{colour} thick")),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::super::markup::check;
    use super::super::scale::Scale;
    use super::*;

    #[test]
    fn rows_are_well_formed_and_their_axis_has_a_unit() {
        let row =
            |name: &str, shown| Row { name: name.into(), colour: 0, shown, text: "3.1 ms <of> 5".into() };
        let rows = Rows {
            x: Axis::of("time", "ms", Scale::log(0.1, 50.0)),
            rows: vec![
                row("input to FINISHes", Shown::Range([0.2, 1.0, 2.0, 3.0, 40.0])),
                row("a & b", Shown::Bar(2.0)),
            ],
        };
        for width in [340.0, 760.0] {
            let text = rows.draw(width).to_string();
            check(&text).unwrap();
            assert!(
                text.contains("time (ms)")
                    && text.contains("a &amp; b")
                    && text.contains("3.1 ms &lt;of&gt; 5")
            );
        }
    }
}
