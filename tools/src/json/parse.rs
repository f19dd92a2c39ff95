//! Reading JSON, strictly: RFC 8259 and nothing beside it, no key twice in one object.
//!
//! # Security
//! A file may come from anybody: nesting is bounded, and nothing is allocated but what stands in the text.

use std::collections::BTreeSet;

use super::Json;

/// Deeper than anything that is written here, and no danger to the stack.
const DEPTH_MAX: usize = 64;

/// Text that is no JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct JsonError {
    pub(crate) line: usize,
    /// The text there, up to the end of the line.
    pub(crate) found: String,
    /// The expected form.
    pub(crate) expected: &'static str,
}

impl Json {
    /// The value that exactly `text` is.
    pub(crate) fn parse(text: &str) -> Result<Json, JsonError> {
        let mut parser = Parser { text, at: 0 };
        let value = parser.value(0)?;
        parser.skip_blanks();
        if parser.at < text.len() { Err(parser.error("the end")) } else { Ok(value) }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.skip_blanks();
        if depth > DEPTH_MAX {
            return Err(self.error("fewer levels of nesting"));
        }
        match self.rest().as_bytes().first() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, value) in
                    [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))]
                {
                    if self.take(word) {
                        return Ok(value);
                    }
                }
                Err(self.error("a value"))
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonError> {
        let (mut fields, mut names) = (Vec::new(), BTreeSet::new());
        self.take("{");
        self.skip_blanks();
        if self.take("}") {
            return Ok(Json::Object(fields));
        }
        loop {
            self.skip_blanks();
            let before = self.at;
            let name = self.string()?;
            if !names.insert(name.clone()) {
                self.at = before;
                return Err(self.error("a name that the object does not have yet"));
            }
            self.skip_blanks();
            if !self.take(":") {
                return Err(self.error("':'"));
            }
            fields.push((name, self.value(depth + 1)?));
            self.skip_blanks();
            if self.take("}") {
                return Ok(Json::Object(fields));
            }
            if !self.take(",") {
                return Err(self.error("',' or '}'"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Json, JsonError> {
        let mut items = Vec::new();
        self.take("[");
        self.skip_blanks();
        if self.take("]") {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_blanks();
            if self.take("]") {
                return Ok(Json::List(items));
            }
            if !self.take(",") {
                return Err(self.error("',' or ']'"));
            }
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        if !self.take("\"") {
            return Err(self.error("a name or text in quotes"));
        }
        let mut string = String::new();
        loop {
            let Some(c) = self.rest().chars().next() else { return Err(self.error("'\"'")) };
            match c {
                '"' => {
                    self.at += 1;
                    return Ok(string);
                }
                '\\' => string.push(self.escaped()?),
                c if c.is_control() => return Err(self.error("a control character written as \\u")),
                c => {
                    string.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
    }

    /// An escape after a backslash; characters beyond 16 bits are two such.
    fn escaped(&mut self) -> Result<char, JsonError> {
        const EXPECTED: &str = "an escaped character";
        for (escape, c) in [
            ("\\\"", '"'),
            ("\\\\", '\\'),
            ("\\/", '/'),
            ("\\b", '\u{8}'),
            ("\\f", '\u{c}'),
            ("\\n", '\n'),
            ("\\r", '\r'),
            ("\\t", '\t'),
        ] {
            if self.take(escape) {
                return Ok(c);
            }
        }
        let before = self.at;
        let first = self.unit();
        let units = match first {
            Some(0xD800..0xDC00) => vec![first, self.unit()],
            _ => vec![first],
        };
        let units: Option<Vec<u16>> = units.into_iter().collect();
        let decoded = units.and_then(|units| char::decode_utf16(units).next()?.ok());
        decoded.ok_or_else(|| {
            self.at = before;
            self.error(EXPECTED)
        })
    }

    fn unit(&mut self) -> Option<u16> {
        let digits = self.rest().strip_prefix("\\u")?.get(..4)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 6;
        u16::from_str_radix(digits, 16).ok()
    }

    fn number(&mut self) -> Result<Json, JsonError> {
        let (before, rest) = (self.at, self.rest());
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
        let text = &rest[..end.unwrap_or(rest.len())];
        self.at += text.len();
        let number = if !is_number(text) {
            None
        } else if text.contains(['.', 'e', 'E']) {
            text.parse().ok().filter(|number: &f64| number.is_finite()).map(Json::Float)
        } else {
            text.parse().ok().map(Json::Int)
        };
        number.ok_or_else(|| {
            self.at = before;
            self.error("a number")
        })
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn take(&mut self, word: &str) -> bool {
        let is_there = self.rest().starts_with(word);
        if is_there {
            self.at += word.len();
        }
        is_there
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, expected: &'static str) -> JsonError {
        let line = 1 + self.text[..self.at].matches('\n').count();
        let found = match self.rest().lines().next() {
            Some(found) if !found.is_empty() => found.into(),
            Some(_) => "the end of the line".into(),
            None => "the end".into(),
        };
        JsonError { line, found, expected }
    }
}

/// `-`, digits without a needless zero, a fraction, an exponent.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let whole_is_plain = whole == "0" || digits(whole) && !whole.starts_with('0');
    whole_is_plain && digits(fraction) && digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let value = Json::object([
            ("null", Json::Null),
            ("flags", Json::List(vec![Json::Bool(true), Json::Bool(false), Json::List(vec![])])),
            ("big", Json::from(u64::MAX)),
            ("small", Json::Float(-0.125)),
            ("text \"quoted\"", Json::text("a\\b\nc\u{1} é \u{1F600}")),
            ("inner", Json::object([("empty", Json::object([]))])),
        ]);
        assert_eq!(Json::parse(&value.to_string()), Ok(value));
    }

    #[test]
    fn all_of_json_is_read() {
        let text = Json::text;
        for (written, value) in [
            (
                " [ 1 , -0 ,1.5e3,2E-1 ] ",
                Json::List(vec![Json::Int(1), Json::Int(0), Json::Float(1_500.0), Json::Float(0.2)]),
            ),
            ("\"\\u00e9\\ud83d\\ude00\\/\\b\\f\\r\\t\"", text("é\u{1F600}/\u{8}\u{c}\r\t")),
            ("{}", Json::Object(vec![])),
        ] {
            assert_eq!(Json::parse(written), Ok(value), "{written}");
        }
    }

    #[test]
    fn nothing_else_is() {
        for (written, line, expected) in [
            ("", 1, "a value"),
            ("nul", 1, "a value"),
            ("1 2", 1, "the end"),
            ("{\n\"a\" 1}", 2, "':'"),
            ("{\"a\": 1\n\"b\": 2}", 2, "',' or '}'"),
            ("{\"a\": 1, \"a\": 2}", 1, "a name that the object does not have yet"),
            ("{a: 1}", 1, "a name or text in quotes"),
            ("{\"a\": 1,}", 1, "a name or text in quotes"),
            ("[1 2]", 1, "',' or ']'"),
            ("[1,", 1, "a value"),
            ("01", 1, "a number"),
            ("1.", 1, "a number"),
            ("-", 1, "a number"),
            ("1e999", 1, "a number"),
            ("\"\\x\"", 1, "an escaped character"),
            ("\"\\ud800x\"", 1, "an escaped character"),
            ("\"\\u+123\"", 1, "an escaped character"),
            ("\"a\nb\"", 1, "a control character written as \\u"),
            ("\"a", 1, "'\"'"),
        ] {
            let error = Json::parse(written).unwrap_err();
            assert_eq!((error.line, error.expected), (line, expected), "{written}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(Json::parse(&deep).unwrap_err().expected, "fewer levels of nesting");
    }
}
