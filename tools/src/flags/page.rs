//! The manual page of a command and the list of all commands, from the tables, for a terminal of some width.

use super::command::{Command, Opt};
use super::range::Range;
use crate::grid::wrapped;

/// Columns by which the text of a page is moved in.
const INDENT: usize = 4;
/// Longer terms of a section stand on lines of their own, with what they mean below.
const TERM_COLUMNS_MAX: usize = 26;
/// Below it there would be a word a line.
const COLUMNS_MIN: usize = 40;

impl Command {
    /// The manual page.
    pub(crate) fn page(&self, columns: usize) -> String {
        let columns = columns.max(COLUMNS_MIN);
        let mut page =
            format!("NAME\n{}", wrapped(&format!("tools {} - {}", self.name, self.summary), INDENT, columns));
        page += &format!("\nSYNOPSIS\n{}", wrapped(&self.synopsis(), INDENT, columns));
        page += "\nDESCRIPTION\n";
        for (index, paragraph) in self.about.split("\n\n").enumerate() {
            if index > 0 {
                page.push('\n');
            }
            page += &wrapped(paragraph, INDENT, columns);
        }
        if !self.operands.is_empty() {
            page += "\nOPERANDS\n";
        }
        for operand in self.operands {
            page += &described(operand.name, operand.help, None, operand.default, columns);
        }
        page += "\nOPTIONS\n";
        for option in self.options {
            page += &described(&usage(option), option.help, option.range, option.default, columns);
        }
        page += &described("--help", "Shows this page.", None, None, columns);
        for (heading, body) in self.sections {
            page += &format!("\n{heading}\n{}", section(body, columns));
        }
        page
    }

    fn synopsis(&self) -> String {
        let operands = self.operands.iter().map(|operand| {
            // A few words explain more than the name of what is one of them.
            let name = if operand.words.is_empty() { operand.name.into() } else { operand.words.join("|") };
            if operand.default.is_some() { format!(" [{name}]") } else { format!(" {name}") }
        });
        format!("tools {}{} [options]", self.name, operands.collect::<String>())
    }
}

/// All commands, with what they do.
pub(crate) fn overview<'a>(commands: impl Iterator<Item = &'a Command>, columns: usize) -> String {
    let columns = columns.max(COLUMNS_MIN);
    let body: String = commands.map(|command| format!("{}  {}\n", command.name, command.summary)).collect();
    let mut page = String::from("NAME\n    tools - runs, measures, breaks and judges testbeds\n");
    page += "\nSYNOPSIS\n    tools COMMAND [options]\n";
    page += &format!("\nCOMMANDS\n{}", section(&body, columns));
    page += &format!(
        "\nSEE ALSO\n{}",
        wrapped("tools COMMAND --help shows the options of a command.", INDENT, columns)
    );
    page
}

/// An option as it is typed.
fn usage(option: &Opt) -> String {
    match (option.value, option.bare) {
        (Some(shape), None) => format!("--{} {shape}", option.name),
        (Some(shape), Some(_)) => format!("--{} [{shape}]", option.name),
        (None, _) => format!("--{}", option.name),
    }
}

fn described(term: &str, help: &str, range: Option<Range>, default: Option<&str>, columns: usize) -> String {
    let range = range.map(|range| format!(" {}", range.sentence())).unwrap_or_default();
    let default = default.map(|value| format!(" Default: {value}.")).unwrap_or_default();
    format!("{:INDENT$}{term}\n{}", "", wrapped(&format!("{help}{range}{default}"), 2 * INDENT, columns))
}

/// The text of a section: terms stand in a column beside what they mean if they are short, above it if they are not.
fn section(body: &str, columns: usize) -> String {
    let lines: Vec<(Option<&str>, &str)> = body.lines().map(term_and_text).collect();
    let terms = lines.iter().filter_map(|(term, _)| *term);
    let widest = terms.map(|term| term.chars().count()).max().unwrap_or_default();
    let beside = widest <= TERM_COLUMNS_MAX;
    let mut section = String::new();
    for (term, text) in lines {
        match term {
            None => section += &wrapped(text, INDENT, columns),
            Some(term) if beside => {
                let indent = INDENT + widest + 2;
                let text = wrapped(text, indent, columns);
                // The first line's blanks make room for the term.
                section += &format!("{:INDENT$}{term:widest$}  {}", "", &text[indent..]);
            }
            Some(term) => {
                section += &wrapped(term, INDENT, columns);
                section += &wrapped(text, 2 * INDENT, columns);
            }
        }
    }
    section
}

/// Two spaces or more part a term from its text; a line without is text alone.
fn term_and_text(line: &str) -> (Option<&str>, &str) {
    match line.trim().split_once("  ") {
        Some((term, text)) => (Some(term), text.trim_start()),
        None => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::SAMPLE;
    use super::*;

    #[test]
    fn a_page_reads_like_a_manual() {
        let page = "\
NAME
    tools sample - shows flags

SYNOPSIS
    tools sample start|stop [DIR]
    [options]

DESCRIPTION
    First paragraph.

    Second one.

OPERANDS
    ACTION
        What to do.
    DIR
        Where. Default: log.

OPTIONS
    --rate R|max
        Offered load, whatever becomes
        of it in the end. From 1 to
        99999. Default: 10000.
    --duration S
        How long. More than 0, at most
        604800. Default: 10.
    --base-port P
        Where to listen.
    --nodes N
        How many. From 1 to 128.
    --part P
        How much. From 0 to 1.
    --sizes LIST
        Which. From 1 to 9. Default:
        1,2.
    --watch [S]
        Again.
    --signed
        Sign.
    --help
        Shows this page.

EXIT STATUS
    0    all well, as far as anybody can
         see
    130  interrupted

EXAMPLES
    tools sample --rate 5 start
        Starts it.

NOTES
    Just a paragraph.
";
        assert_eq!(SAMPLE.page(40), page);
        assert_eq!(SAMPLE.page(0), page, "no terminal is that narrow");
    }

    #[test]
    fn all_commands_are_listed_in_columns() {
        let other = Command { name: "x", summary: "is short", ..SAMPLE };
        let text = overview([SAMPLE, other].iter(), 80);
        assert!(text.contains("COMMANDS\n    sample  shows flags\n    x       is short\n"), "{text}");
    }
}
