//! Reading the CSV files of a run line by line, by the names of their columns, so that a file with more columns is
//! read as well.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use wire::text::ParseError;

/// Far more than a line's columns can take; bounds what a file of something else costs.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// More rows would fill the memory of whoever reads them, and no plot shows them.
const ROWS_MAX: usize = 4_000_000;

/// Reads what each line of a file comes to: `parse` gets the cells of these columns, in this order. A last line without
/// its end is left out, since its writer was killed.
///
/// # Errors
/// If the file cannot be read, lacks a column, or has a line that `parse` refuses.
pub(crate) fn read<T, const N: usize>(
    path: &Path,
    columns: [&str; N],
    mut parse: impl FnMut([&str; N]) -> Option<T>,
) -> Result<Vec<T>, ParseError> {
    let place = path.display().to_string();
    let unreadable = |error: io::Error| ParseError::of(&place, &error.to_string(), "a file that can be read");
    let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
    let (mut text, mut line, mut rows) = (String::new(), 1, Vec::new());
    let mut next = |text: &mut String| {
        text.clear();
        let read = io::Read::take(&mut reader, LINE_BYTES_MAX).read_line(text).map_err(unreadable)?;
        if read as u64 == LINE_BYTES_MAX && !text.ends_with('\n') {
            let expected = format!("lines of at most {LINE_BYTES_MAX} bytes");
            return Err(ParseError::of(&place, "a longer line", expected));
        }
        Ok(text.ends_with('\n'))
    };
    next(&mut text)?;
    let head: Vec<&str> = text.trim_end().split(',').collect();
    let mut at = [0; N];
    for (at, column) in at.iter_mut().zip(columns) {
        let found = head.iter().position(|name| *name == column);
        let missing = || ParseError::at_line(&place, 1, text.trim_end(), format!("a column {column}"));
        *at = found.ok_or_else(missing)?;
    }
    while next(&mut text)? {
        line += 1;
        if rows.len() == ROWS_MAX {
            return Err(ParseError::of(&place, "more", format!("at most {ROWS_MAX} lines")));
        }
        let cells: Vec<&str> = text.trim_end().split(',').collect();
        let chosen = at.map(|index| cells.get(index).copied());
        let row = chosen.iter().all(Option::is_some).then(|| chosen.map(Option::unwrap_or_default));
        let expected = || format!("values of {}", columns.join(", "));
        let row = row.and_then(&mut parse);
        rows.push(row.ok_or_else(|| ParseError::at_line(&place, line, text.trim_end(), expected()))?);
    }
    Ok(rows)
}

/// A cell's number, or nothing if it is empty; `None` if it is something else.
pub(super) fn optional(cell: &str) -> Option<Option<f64>> {
    if cell.is_empty() { Some(None) } else { cell.parse().ok().map(Some) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::TestDir;

    #[test]
    fn columns_are_found_by_name_and_what_is_wrong_is_named() {
        let dir = TestDir::new();
        let path = dir.path().join("x.csv");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            let parse = |[b, a]: [&str; 2]| Some((b.parse::<u64>().ok()?, optional(a)?));
            read(&path, ["b", "a"], parse).map_err(|error| error.to_string())
        };
        assert_eq!(
            read("a,x,b\n1.5,?,2\n,,3\n9,9,"),
            Ok(vec![(2, Some(1.5)), (3, None)]),
            "the last line has no end"
        );
        assert!(read("a,c\n1,2\n").unwrap_err().contains("expected a column b"));
        assert!(read("a,b\n1\n").unwrap_err().contains("line 2: found '1', expected values of b, a"));
        assert!(read("a,b\n1,x\n").is_err() && read("").is_err());
        let long = "x".repeat(LINE_BYTES_MAX as usize);
        assert!(
            read(&format!("a,b\n1,2\n{long}\n"))
                .unwrap_err()
                .contains("expected lines of at most 65536 bytes")
        );
        fs::remove_file(&path).unwrap();
        assert!(super::read(&path, ["a"], |_| Some(())).unwrap_err().to_string().contains("x.csv"));
    }
}
