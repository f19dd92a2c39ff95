//! A space-time diagram: a line a node, time along it, an arrow a message from when it was sent to when it was handled.
//!
//! On a wide page time goes to the right, on a narrow one downwards; everything else is the same.

use super::figure::WIDTHS;
use super::markup::Element;
use super::plot::{label, path, svg, text_width};
use super::scale::{Scale, number, tick_text};

/// A message.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Arrow {
    /// Of the lines of nodes.
    pub(super) from: usize,
    pub(super) to: usize,
    /// Milliseconds.
    pub(super) sent: f64,
    pub(super) received: f64,
    /// Of the kinds.
    pub(super) kind: usize,
    /// Drawn faintly: it belongs to the same thing, but not to what came of it.
    pub(super) is_aside: bool,
}

/// Something that a node did.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Dot {
    pub(super) line: usize,
    pub(super) at: f64,
    /// A number in it that a list explains, or nothing.
    pub(super) number: Option<usize>,
}

/// A stretch of time with a name, over some of the lines.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Phase {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) name: String,
}

/// A stretch of time of some of the lines, of which no messages are drawn.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Band {
    /// The first and the last line.
    pub(super) lines: (usize, usize),
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) name: String,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Diagram {
    pub(super) description: String,
    pub(super) nodes: Vec<String>,
    /// Kinds of messages in the order in which they come, each with its colour.
    pub(super) kinds: Vec<(String, usize)>,
    pub(super) arrows: Vec<Arrow>,
    pub(super) dots: Vec<Dot>,
    pub(super) phases: Vec<Phase>,
    pub(super) bands: Vec<Band>,
    pub(super) until: f64,
}

const ROW: f64 = 15.0;

/// Turns lines and times into points.
struct Space {
    is_wide: bool,
    time: Scale,
    first: f64,
    apart: f64,
    /// The right edge of the drawing.
    right: f64,
}

impl Space {
    fn at(&self, line: usize, time: f64) -> (f64, f64) {
        let (along, across) = (self.time.at(time), self.first + self.apart * line as f64);
        if self.is_wide { (along, across) } else { (across, along) }
    }
}

impl Diagram {
    /// Drawn for each width of a page.
    pub(super) fn drawn(&self) -> [Element; WIDTHS.len()] {
        WIDTHS.map(|(class, width)| self.draw(width, class == WIDTHS[0].0))
    }

    fn draw(&self, width: f64, is_wide: bool) -> Element {
        let (legend, legend_rows) = self.legend(width);
        let rows = legend_rows + if is_wide { 0 } else { self.phases.len() };
        let top = ROW * rows as f64 + 10.0;
        let names = self.nodes.iter().map(|name| text_width(name)).fold(0.0, f64::max);
        let count = self.nodes.len();
        let (space, height) = if is_wide {
            let (phases, apart) = (ROW * 2.0, (340.0 / count as f64).clamp(30.0, 64.0));
            let first = top + phases + 16.0;
            let bottom = first + apart * (count - 1) as f64 + 18.0;
            let time = Scale::linear(0.0, self.until).between(names + 26.0, width - 16.0);
            (Space { is_wide, time, first, apart, right: width }, bottom + 2.0 * ROW + 8.0)
        } else {
            let apart = (width - 70.0) / count as f64;
            let first = 58.0 + apart / 2.0;
            let down = 520.0;
            let time = Scale::linear(0.0, self.until).between(top + 34.0, top + 34.0 + down);
            (Space { is_wide, time, first, apart, right: width }, top + down + 34.0 + 2.0 * ROW + 8.0)
        };
        svg(width, height, &self.description)
            .children(legend)
            .children(self.phases_drawn(&space, top, width, height))
            .children(self.bands.iter().flat_map(|band| drawn_band(band, &space)))
            .children(self.axis(&space, top, width, height))
            .children(
                self.arrows.iter().filter(|arrow| arrow.is_aside).flat_map(|arrow| self.arrow(arrow, &space)),
            )
            .children(
                self.arrows
                    .iter()
                    .filter(|arrow| !arrow.is_aside)
                    .flat_map(|arrow| self.arrow(arrow, &space)),
            )
            .children(self.dots.iter().flat_map(|dot| drawn_dot(dot, &space)))
    }

    fn legend(&self, width: f64) -> (Vec<Element>, usize) {
        let (mut all, mut at, mut row) = (Vec::new(), 0.0, 0);
        for (name, colour) in &self.kinds {
            let takes = text_width(name) + 40.0;
            if at > 0.0 && at + takes > width {
                (at, row) = (0.0, row + 1);
            }
            let y = ROW * (row + 1) as f64 - 3.0;
            all.push(path(&[(at, y - 4.0), (at + 20.0, y - 4.0)]).class(format!("s{colour} thick")));
            all.push(label(at + 26.0, y, name).class("tick"));
            at += takes;
        }
        (all, row + 1)
    }

    fn phases_drawn(&self, space: &Space, top: f64, width: f64, height: f64) -> Vec<Element> {
        let mut all = Vec::new();
        let mut free_from = f64::MIN;
        for (index, phase) in self.phases.iter().enumerate() {
            let (from, to) = (space.time.at(phase.from), space.time.at(phase.to));
            let shade = if index % 2 == 0 { "shade" } else { "shade none" };
            let rect = Element::new("rect").class(shade);
            let text = format!("{} · {} ms", phase.name, number(phase.to - phase.from));
            if space.is_wide {
                let rect = rect.at("x", from).at("y", top).at("width", (to - from).max(0.5));
                all.push(rect.at("height", height - top - 2.0 * ROW - 8.0));
                // A name without room goes a row lower and may reach beyond its phase.
                let row = if from + 4.0 >= free_from { 0.0 } else { ROW };
                let x = (from + 4.0).min(width - text_width(&text)).max(0.0);
                if row == 0.0 {
                    free_from = x + text_width(&text) + 10.0;
                }
                all.push(label(x, top + 12.0 + row, &text).class("tick strong halo"));
            } else {
                let rect = rect.at("x", 0.0).at("y", from).at("width", width);
                all.push(rect.at("height", (to - from).max(0.5)));
                // Among the arrows there is no room for words: the phases stand above, shaded as below.
                let y = top - 10.0 - ROW * (self.phases.len() - index) as f64;
                let swatch = Element::new("rect").class(shade).at("x", 0.0).at("y", y + 2.0);
                all.push(swatch.at("width", 20.0).at("height", ROW - 4.0));
                all.push(label(26.0, y + 12.0, &text).class("tick strong"));
            }
        }
        all
    }

    fn axis(&self, space: &Space, top: f64, width: f64, height: f64) -> Vec<Element> {
        let mut all = Vec::new();
        for (line, name) in self.nodes.iter().enumerate() {
            let (from, to) = (space.at(line, 0.0), space.at(line, self.until));
            all.push(path(&[from, to]).class("line"));
            let name = if space.is_wide {
                label(from.0 - 14.0, from.1 + 4.0, name).class("tick strong").with("text-anchor", "end")
            } else {
                let short = name.split(' ').nth(1).unwrap_or(name).trim_end_matches(',');
                label(from.0, from.1 - 13.0, short).class("tick strong").with("text-anchor", "middle")
            };
            all.push(name);
        }
        let count = if space.is_wide { 8 } else { 10 };
        for tick in space.time.ticks(count) {
            let (at, text) = (space.time.at(tick), tick_text(tick));
            if space.is_wide {
                let bottom = height - 2.0 * ROW - 8.0;
                all.push(path(&[(at, bottom), (at, bottom + 4.0)]).class("line"));
                all.push(label(at, bottom + 16.0, &text).class("tick").with("text-anchor", "middle"));
            } else {
                all.push(path(&[(48.0, at), (54.0, at)]).class("line"));
                all.push(label(44.0, at + 4.0, &text).class("tick").with("text-anchor", "end"));
            }
        }
        if space.is_wide {
            let axis = label(width / 2.0, height - 4.0, "time (ms)").class("axis");
            all.push(axis.with("text-anchor", "middle"));
        } else {
            all.push(label(0.0, top + 12.0, "time (ms)").class("axis"));
        }
        all
    }

    fn arrow(&self, arrow: &Arrow, space: &Space) -> Vec<Element> {
        let colour = self.kinds[arrow.kind].1;
        let class = if arrow.is_aside { "thin aside" } else { "thin" };
        let (from, to) = (space.at(arrow.from, arrow.sent), space.at(arrow.to, arrow.received));
        let line = path(&[from, to]).class(format!("{class} s{colour}"));
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let long = dx.hypot(dy).max(0.1);
        let (ux, uy) = (dx / long, dy / long);
        let corner = |side: f64| (to.0 - 6.0 * ux - side * 2.6 * uy, to.1 - 6.0 * uy + side * 2.6 * ux);
        let head = path(&[to, corner(1.0), corner(-1.0)]).class(format!("head {class} f{colour}"));
        let took = number(arrow.received - arrow.sent);
        let title = format!(
            "{}: {} to {}, {took} ms",
            self.kinds[arrow.kind].0, self.nodes[arrow.from], self.nodes[arrow.to]
        );
        vec![line.child(Element::of("title", title)), head]
    }
}

fn drawn_band(band: &Band, space: &Space) -> Vec<Element> {
    let (from, to) = (space.at(band.lines.0, band.from), space.at(band.lines.1, band.to));
    let beyond = space.apart * 0.4;
    let (dx, dy) = if space.is_wide { (0.0, beyond) } else { (beyond, 0.0) };
    let rect = Element::new("rect").class("band f2").at("x", from.0 - dx).at("y", from.1 - dy);
    let rect = rect.at("width", to.0 - from.0 + 2.0 * dx).at("height", to.1 - from.1 + 2.0 * dy);
    let x = (from.0 - dx + 4.0).min(space.right - text_width(&band.name));
    let y = if space.is_wide { to.1 + dy - 4.0 } else { from.1 + 14.0 };
    let name = label(x, y, &band.name).class("tick halo");
    vec![rect.child(Element::of("title", &band.name)), name]
}

fn drawn_dot(dot: &Dot, space: &Space) -> Vec<Element> {
    let (x, y) = space.at(dot.line, dot.at);
    let circle = Element::new("circle").at("cx", x).at("cy", y);
    match dot.number {
        None => vec![circle.class("f7").at("r", 3.0)],
        Some(number) => vec![
            circle.class("f7").at("r", 8.0),
            label(x, y + 4.0, &number.to_string()).class("numbered").with("text-anchor", "middle"),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::super::markup::check;
    use super::*;

    #[test]
    fn a_diagram_is_well_formed_has_a_unit_and_an_arrow_a_message() {
        let arrow = |from, to, kind| Arrow { from, to, sent: 1.0, received: 2.5, kind, is_aside: kind == 1 };
        let diagram = Diagram {
            description: "a round".into(),
            nodes: vec!["node 0".into(), "node <1>".into()],
            kinds: vec![("SEND".into(), 0), ("ECHO".into(), 1)],
            arrows: vec![arrow(0, 1, 0), arrow(1, 0, 1)],
            dots: vec![Dot { line: 0, at: 0.5, number: Some(1) }, Dot { line: 1, at: 3.0, number: None }],
            phases: vec![Phase { from: 0.0, to: 2.0, name: "broadcast".into() }],
            bands: vec![Band { lines: (0, 1), from: 1.0, to: 2.0, name: "agreement".into() }],
            until: 4.0,
        };
        for drawn in diagram.drawn() {
            let text = drawn.to_string();
            check(&text).unwrap();
            assert_eq!(text.matches("class=\"head").count(), 2, "{text}");
            for part in
                ["time (ms)", "agreement", "broadcast · 2 ms", "SEND: node 0 to node &lt;1&gt;, 1.5 ms"]
            {
                assert!(text.contains(part), "{part} in {text}");
            }
        }
    }
}
