//! Tables and paragraphs on the terminal: columns as wide as what stands in them, lines no longer than the terminal.

use wire::text::lines;

/// To which side of its column a cell keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// The lines of a table, two spaces between columns, moved in by `indent`, nothing behind the last cell of a line.
/// Cells beyond the columns are left out.
pub(crate) fn aligned(columns: &[Side], rows: &[Vec<String>], indent: usize) -> String {
    aligned_apart("  ", columns, rows, indent)
}

/// The same within so many columns of the terminal: if two spaces are too many, one; if those are, a last cell that
/// has no room goes on a line of its own below.
pub(crate) fn aligned_within(width: usize, columns: &[Side], rows: &[Vec<String>], indent: usize) -> String {
    for space in ["  ", " "] {
        let text = aligned_apart(space, columns, rows, indent);
        if fits(width, &text) {
            return text;
        }
    }
    let Some((_, first)) = columns.split_last() else { return String::new() };
    let lines = aligned_apart(" ", first, rows, indent);
    // The row with the widest cell of the column before it has a full line.
    let at = 1 + lines.lines().map(|line| line.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for (line, row) in lines.lines().zip(rows) {
        text += &match row.get(first.len()) {
            Some(last) if at + last.chars().count() <= width => {
                format!("{}\n", format!("{line:at$}{last}").trim_end())
            }
            Some(last) => format!("{line}\n{}", wrapped_facts(last, indent + INDENT_BELOW, width)),
            None => format!("{line}\n"),
        };
    }
    text
}

/// How far a cell below its row is moved in.
const INDENT_BELOW: usize = 4;

/// Whether no line has more columns.
pub(crate) fn fits(width: usize, text: &str) -> bool {
    text.lines().all(|line| line.chars().count() <= width)
}

fn aligned_apart(space: &str, columns: &[Side], rows: &[Vec<String>], indent: usize) -> String {
    let width_of = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns.len()).map(width_of).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(columns).zip(&widths).map(|((cell, side), width)| match side {
            Side::Left => format!("{cell:<width$}"),
            Side::Right => format!("{cell:>width$}"),
        });
        let line = format!("{:indent$}{}", "", cells.collect::<Vec<_>>().join(space));
        text += &format!("{}\n", line.trim_end());
    }
    text
}

/// Facts beside a term: they begin at a column, on all their lines. The term is shorter than that.
pub(crate) fn beside(term: &str, facts: &str, at: usize, columns: usize) -> String {
    // The blanks of the first line make room for the term.
    format!("{term:at$}{}", &wrapped_facts(facts, at, columns)[at..])
}

/// `text` as lines of at most so many columns, moved in. A longer word stands on a line of its own.
pub(crate) fn wrapped(text: &str, indent: usize, columns: usize) -> String {
    lines(text.split_whitespace().map(String::from), indent, columns)
}

/// The same for facts that commas or semicolons part: short ones are not broken.
pub(crate) fn wrapped_facts(text: &str, indent: usize, columns: usize) -> String {
    const UNBROKEN_MAX: usize = 40;
    let words: Vec<&str> = text.split_whitespace().collect();
    let facts = words.chunk_by(|word, _| !word.ends_with([',', ';']));
    let pieces = facts.flat_map(|fact| match fact.join(" ") {
        short if short.chars().count() <= UNBROKEN_MAX => vec![short],
        _ => fact.iter().map(|word| String::from(*word)).collect(),
    });
    lines(pieces, indent, columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        let rows = [row(["name", "µs", "note"]), row(["a", "1000", ""]), row(["longer", "1", "x y"])];
        let expected = "  name      µs  note\n  a       1000\n  longer     1  x y\n";
        assert_eq!(aligned(&[Side::Left, Side::Right, Side::Left], &rows, 2), expected);
        assert_eq!(aligned(&[Side::Left], &[], 0), "");
        let columns = [Side::Left, Side::Right, Side::Left];
        let narrow = "name     µs note\na      1000\nlonger    1 x y\n";
        assert_eq!(aligned_within(17, &columns, &rows, 0), narrow);
        assert_eq!(aligned_within(18, &columns, &rows, 0), aligned(&columns, &rows, 0));
    }

    #[test]
    fn last_cells_without_room_stand_below_their_rows() {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        let rows = [
            row(["host", "cores", "state"]),
            row(["root@10.77.0.1", "2", "nothing installed"]),
            row(["root@h", "2", "testbed 3ded86fad221f908, nodes 0-1 running"]),
            vec!["root@10.77.0.2".into()],
        ];
        let expected = "  host           cores state\n  root@10.77.0.1     2\n      nothing installed\n  root@h             2\n      \
                        testbed 3ded86fad221f908,\n      nodes 0-1 running\n  root@10.77.0.2\n";
        let text = aligned_within(34, &[Side::Left, Side::Right, Side::Left], &rows, 2);
        assert_eq!(text, expected);
        assert!(fits(34, &text) && !fits(30, &text));
    }

    #[test]
    fn facts_stand_beside_their_term_on_all_lines() {
        assert_eq!(beside("A", "log-1, log-2, log-3", 3, 16), "A  log-1, log-2,\n   log-3\n");
    }

    #[test]
    fn lines_keep_within_the_columns_but_for_words_that_are_longer() {
        let text = wrapped(&"word ".repeat(60), 8, 50);
        assert!(text.lines().count() > 1);
        assert!(text.lines().all(|line| line.starts_with("        word") && line.len() <= 50));
        assert_eq!(wrapped("a longer-than-ten b", 2, 10), "  a\n  longer-than-ten\n  b\n");
        assert_eq!(wrapped("", 4, 40), "    \n");
        let facts = "a 1, b 2,000; one that is so much longer than a line has columns, c 3";
        let expected =
            "  a 1, b 2,000;\n  one that is so\n  much longer\n  than a line\n  has columns,\n  c 3\n";
        assert_eq!(wrapped_facts(facts, 2, 16), expected);
    }
}
