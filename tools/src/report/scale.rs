//! From values to pixels: scales, round ticks, and numbers as axes show them.

use crate::lag::grouped;

/// How values are laid out along an axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Linear,
    /// Powers of ten at equal distances, where values span decades. Values at or below 0 stand at its beginning.
    Log,
}

/// A scale: values from `min` to `max`, laid out from `from` to `to` pixels.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Scale {
    kind: Kind,
    pub(super) min: f64,
    pub(super) max: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// A linear scale over exactly these values; one unit wide if they are all the same.
    pub(super) fn linear(min: f64, max: f64) -> Scale {
        let max = if max > min { max } else { min + 1.0 };
        Scale { kind: Kind::Linear, min, max, from: 0.0, to: 1.0 }
    }

    /// A linear scale from 0 to a round number at or above `max`, cut into about so many parts.
    pub(super) fn from_zero(max: f64, parts: usize) -> Scale {
        let max = if max > 0.0 { max } else { 1.0 };
        let step = round_step(max / parts.max(1) as f64);
        Scale::linear(0.0, (max / step - 1e-9).ceil() * step)
    }

    /// A logarithmic scale over whole parts of decades (1, 2 and 5) around these positive values.
    pub(super) fn log(min: f64, max: f64) -> Scale {
        let max = if max.is_finite() { max } else { 1.0 };
        let min = if min >= 1e-9 && min <= max { min } else { 1.0 };
        let (low, high) = (floor_125(min), ceil_125(max.max(min)));
        let high = if high > low { high } else { low * 10.0 };
        Scale { kind: Kind::Log, min: low, max: high, from: 0.0, to: 1.0 }
    }

    /// The same between these pixels.
    pub(super) fn between(self, from: f64, to: f64) -> Scale {
        Scale { from, to, ..self }
    }

    /// The pixel of a value, within the scale.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = match self.kind {
            Kind::Linear => (value - self.min) / (self.max - self.min),
            Kind::Log if value <= self.min => 0.0,
            Kind::Log => (value / self.min).ln() / (self.max / self.min).ln(),
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Round values on the scale, at most about `count` of them, ascending.
    pub(super) fn ticks(&self, count: usize) -> Vec<f64> {
        match self.kind {
            Kind::Linear => {
                let step = round_step((self.max - self.min) / count.max(1) as f64);
                let first = (self.min / step - 1e-9).ceil() as i64;
                let last = (self.max / step + 1e-9).floor() as i64;
                (first..=last).map(|index| index as f64 * step).collect()
            }
            Kind::Log => self.log_ticks(count),
        }
    }

    fn log_ticks(&self, count: usize) -> Vec<f64> {
        let (first, last) = (exponent(self.min), exponent(self.max));
        let within = |value: &f64| *value >= self.min * 0.999 && *value <= self.max * 1.001;
        for digits in [&[1.0, 2.0, 5.0][..], &[1.0]] {
            let all = (first..=last).flat_map(|power| digits.iter().map(move |digit| digit * ten(power)));
            let ticks: Vec<f64> = all.filter(within).collect();
            if ticks.len() <= count.max(2) {
                return ticks;
            }
        }
        let decades = (last - first) as usize / count.max(1) + 1;
        (first..=last).step_by(decades).map(ten).filter(within).collect()
    }
}

/// 1, 2 or 5 times a power of ten, at or above a positive value.
fn round_step(value: f64) -> f64 {
    ceil_125(value.max(f64::MIN_POSITIVE * 1e10))
}

fn ceil_125(value: f64) -> f64 {
    let power = ten(exponent(value));
    let digits = [1.0, 2.0, 5.0, 10.0];
    digits
        .into_iter()
        .map(|digit| digit * power)
        .find(|round| *round >= value * (1.0 - 1e-9))
        .unwrap_or(value)
}

fn floor_125(value: f64) -> f64 {
    let power = ten(exponent(value));
    let digits = [5.0, 2.0, 1.0];
    digits
        .into_iter()
        .map(|digit| digit * power)
        .find(|round| *round <= value * (1.0 + 1e-9))
        .unwrap_or(value)
}

fn exponent(value: f64) -> i32 {
    (value.log10() + 1e-9).floor() as i32
}

fn ten(power: i32) -> f64 {
    10f64.powi(power)
}

/// A number as people read it: three digits that matter, thousands apart.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 99.95 {
        let whole = grouped(size.round() as u64);
        return if value < 0.0 { format!("−{whole}") } else { whole };
    }
    let decimals = match size {
        size if size >= 9.995 => 1,
        size if size >= 0.9995 || size == 0.0 => 2,
        _ => 3,
    };
    let text = format!("{size:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if value < 0.0 && text != "0" { format!("−{text}") } else { text.into() }
}

/// A tick's number: without needless digits.
pub(super) fn tick_text(value: f64) -> String {
    match value.abs() {
        size if size >= 1e9 => format!("{}G", number(value / 1e9)),
        size if size >= 1e6 => format!("{}M", number(value / 1e6)),
        size if size >= 1e5 => format!("{}k", number(value / 1e3)),
        size if size > 0.0 && size < 0.001 => format!("{value:e}"),
        _ => number(value),
    }
}

/// Bytes with their unit.
pub(super) fn bytes(value: f64) -> String {
    for (unit, size) in [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)] {
        if value >= size {
            return format!("{} {unit}", number(value / size));
        }
    }
    format!("{} B", number(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_scale() {
        assert_eq!(
            Scale::from_zero(9_876.0, 5).ticks(5),
            [0.0, 2_000.0, 4_000.0, 6_000.0, 8_000.0, 10_000.0]
        );
        assert_eq!(Scale::linear(0.0, 10.0).ticks(4), [0.0, 5.0, 10.0]);
        assert_eq!(Scale::from_zero(0.0, 4).max, 1.0, "nothing was measured");
        let scale = Scale::log(3.0, 700.0);
        assert_eq!((scale.min, scale.max), (2.0, 1_000.0));
        assert_eq!(scale.ticks(9), [2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0]);
        assert_eq!(scale.ticks(4), [10.0, 100.0, 1_000.0]);
        for max in [0.000_7, 0.3, 1.0, 7.0, 99.0, 123_456.0, 7e9] {
            let scale = Scale::from_zero(max, 5);
            let ticks = scale.ticks(5);
            assert!((3..=7).contains(&ticks.len()), "{max}: {ticks:?}");
            assert!(scale.max >= max && ticks.iter().all(|tick| (0.0..=scale.max * 1.001).contains(tick)));
            assert!(!Scale::log(max, max).ticks(5).is_empty());
        }
        assert!(Scale::log(1e-3, 1e9).ticks(4).len() <= 5, "few labels have room");
    }

    #[test]
    fn values_lie_where_the_scale_says_and_never_outside() {
        let scale = Scale::linear(0.0, 10.0).between(100.0, 0.0);
        assert_eq!([0.0, 2.5, 10.0, 20.0, -1.0].map(|value| scale.at(value)), [100.0, 75.0, 0.0, 0.0, 100.0]);
        let scale = Scale::log(1.0, 100.0).between(0.0, 200.0);
        assert_eq!([0.0, 1.0, 10.0, 100.0].map(|value| scale.at(value).round()), [0.0, 0.0, 100.0, 200.0]);
    }

    #[test]
    fn numbers_have_the_digits_that_matter() {
        for (value, text) in [
            (0.0, "0"),
            (0.001_23, "0.001"),
            (0.25, "0.25"),
            (1.0, "1"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (99.99, "100"),
            (12_345.6, "12,346"),
            (-3.5, "−3.5"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!([50_000.0, 200_000.0, 2e6, 500.0].map(tick_text), ["50,000", "200k", "2M", "500"]);
        assert_eq!([12.0, 1_500.0, 2.5e7].map(bytes), ["12 B", "1.5 kB", "25 MB"]);
    }
}
