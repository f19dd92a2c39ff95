//! A table of cells, shaded by their values: what goes from each node to each.

use super::markup::Element;
use super::plot::{label, svg, text_width};
use super::scale::bytes;

/// From this many columns on, cells have no room for their figures.
const FIGURES_MAX: usize = 8;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    /// The meaning of rows and columns, and the unit of cells.
    pub(super) label: String,
    pub(super) names: Vec<String>,
    /// Bytes a second, a row after the other; `None` where there is nothing.
    pub(super) cells: Vec<Option<f64>>,
}

impl Matrix {
    pub(super) fn draw(&self, width: f64) -> Element {
        let count = self.names.len();
        let (left, top) = (self.names.iter().map(|name| text_width(name)).fold(0.0, f64::max) + 10.0, 44.0);
        let cell = ((width - left) / count.max(1) as f64).min(84.0);
        let high = cell.clamp(10.0, 26.0);
        let most = self.cells.iter().flatten().fold(0.0, |most: f64, value| most.max(*value));
        let has_figures = count <= FIGURES_MAX && cell >= 60.0;
        let every = (text_width("000") / cell).ceil().max(1.0) as usize;
        let mut all = vec![label(0.0, 11.0, &self.label).class("axis")];
        for (index, name) in self.names.iter().enumerate().filter(|(index, _)| index % every == 0) {
            let x = left + cell * (index as f64 + 0.5);
            all.push(label(x, top - 8.0, name).class("tick").with("text-anchor", "middle"));
        }
        let rows_every = (13.0 / high).ceil() as usize;
        for (row, name) in self.names.iter().enumerate() {
            let y = top + high * row as f64;
            if row % rows_every == 0 {
                let name = label(left - 6.0, y + high / 2.0 + 4.0, name).class("tick");
                all.push(name.with("text-anchor", "end"));
            }
            for column in 0..count {
                let Some(value) = self.cells[row * count + column] else { continue };
                let x = left + cell * column as f64;
                let share = if most > 0.0 { value / most } else { 0.0 };
                let title = format!("{} to {}: {}/s", self.names[row], self.names[column], bytes(value));
                let rect = Element::new("rect")
                    .class("f0")
                    .with("fill-opacity", format!("{:.2}", 0.08 + 0.5 * share));
                let rect =
                    rect.at("x", x + 1.0).at("y", y + 1.0).at("width", cell - 2.0).at("height", high - 2.0);
                all.push(rect.child(Element::of("title", title)));
                if has_figures {
                    let text = label(x + cell / 2.0, y + high / 2.0 + 4.0, &bytes(value)).class("tick");
                    all.push(text.with("text-anchor", "middle"));
                }
            }
        }
        svg(width, top + high * count as f64 + 4.0, &self.label).children(all)
    }

    /// The largest cell, in words, where cells have no figures of their own at some width.
    pub(super) fn most(&self) -> Option<String> {
        let count = self.names.len();
        let cells = self.cells.iter().enumerate().filter_map(|(at, value)| Some((at, (*value)?)));
        let (at, value) = cells.max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(format!("{} to {}: {}/s", self.names[at / count], self.names[at % count], bytes(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::markup::check;
    use super::*;

    #[test]
    fn a_matrix_is_well_formed_and_names_the_largest_cell() {
        for count in [2, 40] {
            let matrix = Matrix {
                label: "from (rows) to (columns), bytes a second".into(),
                names: (0..count).map(|node| node.to_string()).collect(),
                cells: (0..count * count)
                    .map(|at| (at % (count + 1) != 0).then_some(at as f64 * 1e3))
                    .collect(),
            };
            for width in [350.0, 760.0] {
                check(&matrix.draw(width).to_string()).unwrap();
            }
            let last = count - 1;
            assert_eq!(
                matrix.most().unwrap().split(':').next(),
                Some(format!("{last} to {}", last - 1).as_str())
            );
        }
    }
}
