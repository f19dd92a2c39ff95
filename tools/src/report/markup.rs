//! HTML and SVG as trees: well-formed by construction, and nothing of a run reaches a page unescaped.

use std::fmt;

/// An element with its attributes and what is in it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Child>,
}

#[derive(Clone, PartialEq, Debug)]
enum Child {
    Element(Element),
    Text(String),
}

/// Elements that are written without an end tag, as both HTML and XML read them.
const VOID: [&str; 6] = ["meta", "br", "path", "rect", "line", "circle"];

impl Element {
    pub(super) fn new(name: &'static str) -> Element {
        Element { name, attributes: Vec::new(), children: Vec::new() }
    }

    /// An element with a text in it.
    pub(super) fn of(name: &'static str, text: impl Into<String>) -> Element {
        Element::new(name).text(text)
    }

    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: impl fmt::Display) -> Element {
        self.attributes.push((name, value.to_string()));
        self
    }

    /// A coordinate or length, to a tenth of a pixel.
    #[must_use]
    pub(super) fn at(self, name: &'static str, value: f64) -> Element {
        self.with(name, length(value))
    }

    #[must_use]
    pub(super) fn class(self, names: impl fmt::Display) -> Element {
        self.with("class", names)
    }

    #[must_use]
    pub(super) fn text(mut self, text: impl Into<String>) -> Element {
        self.children.push(Child::Text(text.into()));
        self
    }

    #[must_use]
    pub(super) fn child(mut self, child: Element) -> Element {
        self.children.push(Child::Element(child));
        self
    }

    #[must_use]
    pub(super) fn children(mut self, children: impl IntoIterator<Item = Element>) -> Element {
        self.children.extend(children.into_iter().map(Child::Element));
        self
    }
}

/// A number of pixels as short as a tenth of one allows.
pub(super) fn length(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".into() } else { text.into() }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}", self.name)?;
        for (name, value) in &self.attributes {
            write!(f, " {name}=\"{}\"", Escaped(value))?;
        }
        if VOID.contains(&self.name) && self.children.is_empty() {
            return f.write_str("/>");
        }
        f.write_str(">")?;
        for child in &self.children {
            match child {
                Child::Element(element) => write!(f, "{element}")?,
                Child::Text(text) => write!(f, "{}", Escaped(text))?,
            }
        }
        write!(f, "</{}>", self.name)
    }
}

/// A text as it stands in a page. Control characters, which no page may have, are shown as replaced.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\n' => f.write_str("\n")?,
                c if c.is_control() => f.write_str("\u{FFFD}")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// A reader of the subset that is written here, so that tests see what a browser would: it returns the names of all
/// elements, or where the text is not well-formed.
#[cfg(test)]
pub(super) fn check(markup: &str) -> Result<Vec<String>, String> {
    let (mut open, mut all, mut rest) = (Vec::<&str>::new(), Vec::new(), markup);
    while let Some((text, tail)) = rest.split_once('<') {
        if text.contains('>') {
            return Err(format!("a bare '>' in {text:?}"));
        }
        let (tag, tail) = tail.split_once('>').ok_or("a tag without its end")?;
        rest = tail;
        if tag.starts_with('!') {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes something else"));
            }
            continue;
        }
        let is_void = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        if attributes.matches('"').count() % 2 != 0 {
            return Err(format!("unbalanced quotes in <{tag}>"));
        }
        all.push(name.to_string());
        if !is_void {
            open.push(name);
        }
    }
    if open.is_empty() { Ok(all) } else { Err(format!("not closed: {open:?}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_escaped() {
        let element = Element::of("p", "<script>alert(\"1\")</script> & \u{1}").with("title", "\"><b>");
        assert_eq!(
            element.to_string(),
            "<p title=\"&quot;&gt;&lt;b&gt;\">&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; \u{FFFD}</p>"
        );
        assert_eq!(check(&element.to_string()), Ok(vec!["p".to_string()]));
    }

    #[test]
    fn only_void_elements_have_no_end_tag() {
        let element = Element::new("g").child(Element::new("path").at("x", 1.04)).child(Element::new("div"));
        assert_eq!(element.to_string(), "<g><path x=\"1\"/><div></div></g>");
        assert_eq!([length(-0.01), length(2.25), length(7.0)], ["0", "2.2", "7"]);
    }

    #[test]
    fn the_check_notices_what_is_not_well_formed() {
        for wrong in ["<p>", "<p></b>", "<p title=\"x></p>", "</p>", "<g><p></g></p>", "<p"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
