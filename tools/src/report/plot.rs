//! A plot: lines or steps over two axes, with marks at moments and shaded spans, as SVG.
//!
//! Everything in it is laid out for one width in pixels, and text has the same size at each: a page holds a wide and a
//! narrow drawing of the same plot and shows the one that fits. Labels stand at the ends of lines where there is room,
//! and above the plot where there is not; none may cover another.

use super::markup::{Element, length};
use super::scale::{Scale, tick_text};

/// From this width on, lines have their labels beside them.
const WIDE: f64 = 560.0;
/// The width of a character of a label, on average and a little more.
const CHARACTER: f64 = 7.2;
const ROW: f64 = 15.0;
/// The label of the shade behind the load: what lines come to there says nothing about them.
pub(super) const DRAIN: &str = "drain";
/// More rows of marks would leave no room for the plot: marks have numbers instead of words then.
const MARK_ROWS_MAX: usize = 4;

/// An axis: what it shows, its unit included.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) label: String,
    pub(super) scale: Scale,
}

impl Axis {
    /// An axis of values in a unit.
    pub(super) fn of(what: &str, unit: &str, scale: Scale) -> Axis {
        Axis { label: format!("{what} ({unit})"), scale }
    }
}

/// How the points of a line are joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    Line,
    Dashed,
    /// Filled down to the axis; its points are the corners.
    Area,
}

/// A line; a gap where a point is missing.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Empty if it needs none.
    pub(super) label: String,
    /// Of the palette.
    pub(super) colour: usize,
    pub(super) shape: Shape,
    pub(super) points: Vec<Option<(f64, f64)>>,
}

/// A moment that matters.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Mark {
    pub(super) at: f64,
    pub(super) label: String,
}

/// A stretch of the x axis, shaded.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Shade {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) label: String,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    pub(super) marks: Vec<Mark>,
    pub(super) shades: Vec<Shade>,
    /// Of the plot's area, pixels.
    pub(super) height: f64,
}

/// Where the plot's area lies in the drawing.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: Scale,
    y: Scale,
}

/// Where labels above the plot stand.
struct Head {
    legend: Vec<(usize, f64, usize)>,
    legend_rows: usize,
    /// The row of each mark, and the x of its label.
    marks: Vec<(usize, f64)>,
    mark_rows: usize,
    has_numbers: bool,
}

impl Plot {
    /// Draws it for a width.
    pub(super) fn draw(&self, width: f64) -> Element {
        let labelled: Vec<&Line> = self.lines.iter().filter(|line| !line.label.is_empty()).collect();
        let is_beside = width >= WIDE && labelled.len() as f64 * ROW <= self.height;
        let beside = labelled.iter().map(|line| text_width(&line.label)).fold(0.0, f64::max);
        let y_ticks = self.y.scale.ticks((self.height / 30.0) as usize);
        let tick_width = y_ticks.iter().map(|tick| text_width(&tick_text(*tick))).fold(0.0, f64::max);
        let left = tick_width + 12.0;
        let right = width - if is_beside && beside > 0.0 { beside + 14.0 } else { 14.0 };
        let x = self.x.scale.between(left, right);
        let head = self.head(&x, left, width, if is_beside { &[] } else { &labelled });
        let top = ROW + 6.0 + ROW * (head.legend_rows + head.mark_rows) as f64;
        let bottom = top + self.height;
        let frame = Frame { left, right, top, bottom, x, y: self.y.scale.between(bottom, top) };
        let height = bottom + 2.0 * ROW + 8.0;
        let mut svg = svg(width, height, &format!("{} by {}", self.y.label, self.x.label));
        svg = svg.children(self.shades.iter().flat_map(|shade| frame.shade(shade)));
        svg = svg.children(self.axes(&frame, &y_ticks, width));
        svg = svg.children(self.lines.iter().flat_map(|line| frame.line(line)));
        svg = svg.children(self.mark_elements(&frame, &head));
        svg = svg.children(legend(&labelled, &head));
        let load_ends =
            self.shades.iter().find(|shade| shade.label == DRAIN).map_or(f64::MAX, |shade| shade.from);
        if is_beside { svg.children(labels_beside(&labelled, &frame, load_ends)) } else { svg }
    }

    fn head(&self, x: &Scale, left: f64, width: f64, in_legend: &[&Line]) -> Head {
        let (mut legend, mut at, mut row) = (Vec::new(), left, 0);
        for (index, line) in in_legend.iter().enumerate() {
            let takes = text_width(&line.label) + 34.0;
            if at > left && at + takes > width {
                (at, row) = (left, row + 1);
            }
            legend.push((index, at, row));
            at += takes;
        }
        let legend_rows = if legend.is_empty() { 0 } else { row + 1 };
        let in_words = self.place_marks(x, width, |mark, _| text_width(&mark.label));
        let rows = |marks: &[(usize, f64)]| marks.iter().map(|(row, _)| row + 1).max().unwrap_or_default();
        let has_numbers = rows(&in_words) > MARK_ROWS_MAX;
        let mut marks = in_words;
        if has_numbers {
            marks = self.place_marks(x, width, |_, index| text_width(&(index + 1).to_string()));
        }
        Head { legend, legend_rows, mark_rows: rows(&marks).min(MARK_ROWS_MAX), marks, has_numbers }
    }

    /// The row of each mark's label and where it begins, so that none covers another.
    fn place_marks(&self, x: &Scale, width: f64, takes: impl Fn(&Mark, usize) -> f64) -> Vec<(usize, f64)> {
        let mut ends: Vec<f64> = Vec::new();
        let place = |(index, mark): (usize, &Mark)| {
            let takes = takes(mark, index) + 8.0;
            let at = (x.at(mark.at) - 3.0).min(width - takes).max(0.0);
            let row = ends.iter().position(|end| *end <= at).unwrap_or(ends.len());
            if row == ends.len() {
                ends.push(0.0);
            }
            ends[row] = at + takes;
            (row, at)
        };
        self.marks.iter().enumerate().map(place).collect()
    }

    fn axes(&self, frame: &Frame, y_ticks: &[f64], width: f64) -> Vec<Element> {
        let Frame { left, right, top, bottom, x, y } = frame;
        let mut all = vec![label(0.0, 11.0, &self.y.label).class("axis")];
        for tick in y_ticks {
            let at = y.at(*tick);
            all.push(path(&[(*left, at), (*right, at)]).class("grid"));
            all.push(label(left - 6.0, at + 4.0, &tick_text(*tick)).class("tick").with("text-anchor", "end"));
        }
        let mut free_from = f64::MIN;
        for tick in x.ticks(((right - left) / 70.0) as usize) {
            let (at, text) = (x.at(tick), tick_text(tick));
            all.push(path(&[(at, *bottom), (at, bottom + 4.0)]).class("line"));
            let half = text_width(&text) / 2.0;
            if at - half >= free_from {
                free_from = at + half + 6.0;
                // The last one stands at the edge of the drawing.
                let x = at.min(width - half);
                all.push(label(x, bottom + 16.0, &text).class("tick").with("text-anchor", "middle"));
            }
        }
        all.push(path(&[(*left, *top), (*left, *bottom), (*right, *bottom)]).class("line"));
        let middle = (left + right) / 2.0;
        all.push(
            label(middle, bottom + 2.0 * ROW + 2.0, &self.x.label)
                .class("axis")
                .with("text-anchor", "middle"),
        );
        all
    }

    fn mark_elements(&self, frame: &Frame, head: &Head) -> Vec<Element> {
        let base = ROW + 4.0 + ROW * head.legend_rows as f64;
        let mut all = Vec::new();
        for (index, (mark, (row, at))) in self.marks.iter().zip(&head.marks).enumerate() {
            let row = (*row).min(MARK_ROWS_MAX - 1);
            let (x, y) = (frame.x.at(mark.at), base + ROW * (row + 1) as f64);
            let text = if head.has_numbers { (index + 1).to_string() } else { mark.label.clone() };
            all.push(path(&[(x, y - 10.0), (x, frame.bottom)]).class("mark"));
            let title = Element::of("title", &mark.label);
            all.push(label(at + 6.0, y - 1.0, &text).class("marked").child(title));
        }
        all
    }

    /// The marks in words, by number, if the narrowest drawing has no room for the words.
    pub(super) fn numbered_marks(&self, width: f64) -> Option<Vec<String>> {
        let head = self.head(&self.x.scale.between(60.0, width - 14.0), 60.0, width, &[]);
        head.has_numbers.then(|| self.marks.iter().map(|mark| mark.label.clone()).collect())
    }
}

impl Frame {
    fn shade(&self, shade: &Shade) -> Vec<Element> {
        let (from, to) = (self.x.at(shade.from), self.x.at(shade.to));
        if to - from < 0.5 {
            return Vec::new();
        }
        let rect = Element::new("rect").class("shade").at("x", from).at("y", self.top);
        let mut all = vec![rect.at("width", to - from).at("height", self.bottom - self.top)];
        if text_width(&shade.label) + 6.0 < to - from {
            all.push(
                label((from + to) / 2.0, self.top + 12.0, &shade.label)
                    .class("tick")
                    .with("text-anchor", "middle"),
            );
        }
        all
    }

    fn line(&self, line: &Line) -> Vec<Element> {
        let mut all = Vec::new();
        for run in line.points.split(Option::is_none) {
            let points: Vec<(f64, f64)> =
                run.iter().flatten().map(|(x, y)| (self.x.at(*x), self.y.at(*y))).collect();
            match (points.as_slice(), line.shape) {
                ([], _) => {}
                ([(x, y)], _) => all.push(
                    Element::new("circle")
                        .class(format!("f{}", line.colour))
                        .at("cx", *x)
                        .at("cy", *y)
                        .at("r", 2.5),
                ),
                ([(first, _), .., (last, _)], Shape::Area) => {
                    let mut closed = points.clone();
                    closed.extend([(*last, self.bottom), (*first, self.bottom)]);
                    all.push(path(&closed).class(format!("area f{}", line.colour)));
                    all.push(path(&points).class(format!("s{}", line.colour)));
                }
                (points, Shape::Line) => all.push(path(points).class(format!("s{}", line.colour))),
                (points, Shape::Dashed) => all.push(path(points).class(format!("dashed s{}", line.colour))),
            }
        }
        all
    }
}

fn legend(lines: &[&Line], head: &Head) -> Vec<Element> {
    let mut all = Vec::new();
    for (index, at, row) in &head.legend {
        let (line, y) = (lines[*index], ROW * (*row + 2) as f64 - 4.0);
        let dashed = if line.shape == Shape::Dashed { "dashed " } else { "" };
        all.push(
            path(&[(*at, y - 4.0), (at + 18.0, y - 4.0)]).class(format!("{dashed}s{} thick", line.colour)),
        );
        all.push(label(at + 23.0, y, &line.label).class("tick"));
    }
    all
}

/// Labels beside lines, as high as these are when the load ends, moved apart where they would cover each other.
fn labels_beside(lines: &[&Line], frame: &Frame, load_ends: f64) -> Vec<Element> {
    let mut ends: Vec<(f64, &Line)> = lines
        .iter()
        .map(|line| {
            let points = || line.points.iter().rev().flatten();
            let last = points().find(|(x, _)| *x <= load_ends).or(points().next());
            (last.map_or(frame.bottom, |(_, y)| frame.y.at(*y)), *line)
        })
        .collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free_from = frame.top;
    for (y, _) in &mut ends {
        *y = y.max(free_from);
        free_from = *y + ROW;
    }
    let mut free_to = frame.bottom;
    for (y, _) in ends.iter_mut().rev() {
        *y = y.min(free_to);
        free_to = *y - ROW;
    }
    let at = frame.right + 8.0;
    ends.into_iter()
        .map(|(y, line)| label(at, y + 4.0, &line.label).class(format!("tick t{}", line.colour)))
        .collect()
}

/// An empty drawing with its description.
pub(super) fn svg(width: f64, height: f64, description: &str) -> Element {
    Element::new("svg")
        .with("xmlns", "http://www.w3.org/2000/svg")
        .with("viewBox", format!("0 0 {} {}", length(width), length(height)))
        .at("width", width)
        .at("height", height)
        .with("role", "img")
        .with("aria-label", description)
}

/// A text that begins at a point.
pub(super) fn label(x: f64, y: f64, text: &str) -> Element {
    Element::of("text", text).at("x", x).at("y", y)
}

/// A path through points.
pub(super) fn path(points: &[(f64, f64)]) -> Element {
    let mut data = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        data.push(if index == 0 { 'M' } else { 'L' });
        data.push_str(&format!("{} {}", length(*x), length(*y)));
    }
    Element::new("path").with("d", data)
}

/// About how many pixels a label takes.
pub(super) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER
}

#[cfg(test)]
mod tests {
    use super::super::markup::check;
    use super::*;

    fn plot(marks: usize) -> Plot {
        let line = |label: &str, y: f64| Line {
            label: label.into(),
            colour: 1,
            shape: Shape::Line,
            points: vec![Some((0.0, y)), None, Some((5.0, y)), Some((10.0, y))],
        };
        let mark = |index: usize| Mark { at: 0.1 * index as f64, label: format!("crash:{index}@<&>") };
        Plot {
            x: Axis::of("time since the load began", "s", Scale::linear(0.0, 10.0)),
            y: Axis::of("throughput", "tx/s", Scale::from_zero(100.0, 4)),
            lines: vec![line("committed", 50.0), line("offered", 50.5), line("cross", 0.0)],
            marks: (0..marks).map(mark).collect(),
            shades: vec![Shade { from: 0.0, to: 2.0, label: "warm-up".into() }],
            height: 160.0,
        }
    }

    /// The values of an attribute of all elements with this class.
    fn attributes(svg: &str, class: &str, name: &str) -> Vec<f64> {
        let elements = svg.split('<').filter(|element| element.contains(&format!("class=\"{class}")));
        let value = |element: &str| {
            let (_, tail) = element.split_once(&format!(" {name}=\""))?;
            tail.split('"').next()?.parse().ok()
        };
        elements.filter_map(value).collect()
    }

    #[test]
    fn a_plot_is_well_formed_and_both_axes_have_units_at_every_width() {
        for width in [340.0, 760.0] {
            let text = plot(2).draw(width).to_string();
            let names = check(&text).unwrap();
            assert_eq!(names.iter().filter(|name| *name == "svg").count(), 1);
            for unit in ["throughput (tx/s)", "time since the load began (s)", "warm-up", "committed"] {
                assert!(text.contains(unit), "{width}: {unit} in {text}");
            }
            assert!(text.contains("crash:0@&lt;&amp;&gt;"), "{text}");
        }
    }

    #[test]
    fn labels_beside_lines_are_a_row_apart_and_within_the_plot() {
        let text = plot(0).draw(760.0).to_string();
        let mut rows = attributes(&text, "tick t1", "y");
        rows.sort_by(f64::total_cmp);
        assert_eq!(rows.len(), 3);
        assert!(rows.windows(2).all(|two| two[1] - two[0] >= ROW - 0.2), "{rows:?}");
    }

    #[test]
    fn labels_of_marks_do_not_cover_each_other_and_become_numbers_when_there_are_many() {
        for (marks, width, has_numbers) in [(3, 760.0, false), (40, 760.0, true), (6, 340.0, true)] {
            let plot = plot(marks);
            let x = plot.x.scale.between(40.0, width - 14.0);
            let head = plot.head(&x, 40.0, width, &[]);
            assert_eq!(head.has_numbers, has_numbers, "{marks} marks in {width}");
            assert_eq!(plot.numbered_marks(width).is_some(), has_numbers);
            let takes = |index: usize| match has_numbers {
                true => text_width(&(index + 1).to_string()),
                false => text_width(&plot.marks[index].label),
            };
            for (index, (row, at)) in head.marks.iter().enumerate() {
                for (other, (their_row, theirs)) in head.marks.iter().enumerate().take(index) {
                    let is_apart = row != their_row || *theirs + takes(other) <= *at;
                    assert!(is_apart, "{marks} marks in {width}: {other} and {index}");
                }
                assert!(at + takes(index) <= width, "mark {index} is cut off");
            }
        }
    }
}
