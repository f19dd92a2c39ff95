//! JSON for summaries, written and read: numbers stay numbers, order stays as given.

mod parse;

use std::fmt;

/// A JSON value.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Json {
    /// Nothing is known.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number with a fraction; written with up to three decimals, or as null if it is not finite, which JSON
    /// cannot represent.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// An object of these fields, in this order.
    pub(crate) fn object<'a>(fields: impl IntoIterator<Item = (&'a str, Json)>) -> Json {
        Json::Object(fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    }

    /// A text.
    pub(crate) fn text(text: impl Into<String>) -> Json {
        Json::Text(text.into())
    }

    /// A value or null.
    pub(crate) fn or_null(value: Option<impl Into<Json>>) -> Json {
        value.map_or(Json::Null, Into::into)
    }

    /// The value of an object's field; `None` if there is none.
    pub(crate) fn field(&self, name: &str) -> Option<&Json> {
        let Json::Object(fields) = self else { return None };
        fields.iter().find_map(|(field, value)| (field == name).then_some(value))
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Int(value) => write!(f, "{value}"),
            Json::Float(value) if value.is_finite() => {
                let text = format!("{value:.3}");
                let text = text.trim_end_matches('0').trim_end_matches('.');
                f.write_str(if text == "-0" { "0" } else { text })
            }
            Json::Float(_) => f.write_str("null"),
            Json::Text(text) => write_text(f, text),
            Json::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    f.write_str(if index > 0 { ", " } else { "" })?;
                    item.write(f, depth + 1)?;
                }
                f.write_str("]")
            }
            Json::Object(fields) if fields.is_empty() => f.write_str("{}"),
            Json::Object(fields) => {
                for (index, (name, value)) in fields.iter().enumerate() {
                    f.write_str(if index > 0 { ",\n" } else { "{\n" })?;
                    write!(f, "{:1$}", "", 2 * (depth + 1))?;
                    write_text(f, name)?;
                    f.write_str(": ")?;
                    value.write(f, depth + 1)?;
                }
                write!(f, "\n{:1$}}}", "", 2 * depth)
            }
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Json {
        Json::Bool(value)
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Json {
        Json::Int(value.into())
    }
}

impl From<usize> for Json {
    fn from(value: usize) -> Json {
        Json::Int(value as i128)
    }
}

impl From<f64> for Json {
    fn from(value: f64) -> Json {
        Json::Float(value)
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars() {
        for (value, text) in [
            (Json::Null, "null"),
            (Json::from(true), "true"),
            (Json::Int(-7), "-7"),
            (Json::from(u64::MAX), "18446744073709551615"),
            (Json::from(1.5), "1.5"),
            (Json::from(2.0), "2"),
            (Json::from(100.0), "100"),
            (Json::from(0.123_456), "0.123"),
            (Json::from(-0.000_1), "0"),
            (Json::from(f64::NAN), "null"),
            (Json::from(f64::INFINITY), "null"),
            (Json::text("a \"b\" \\ \n\u{1} é"), "\"a \\\"b\\\" \\\\ \\n\\u0001 é\""),
            (Json::or_null(None::<u64>), "null"),
            (Json::or_null(Some(3u64)), "3"),
        ] {
            assert_eq!(value.to_string(), text);
        }
    }

    #[test]
    fn objects_keep_their_order_and_are_indented() {
        let value = Json::object([
            ("b", Json::List(vec![Json::Int(1), Json::text("x")])),
            ("a", Json::object([("c", Json::Null)])),
            ("e", Json::object([])),
        ]);
        assert_eq!(
            value.to_string(),
            "{\n  \"b\": [1, \"x\"],\n  \"a\": {\n    \"c\": null\n  },\n  \"e\": {}\n}"
        );
    }
}
