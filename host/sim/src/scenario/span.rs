//! Durations and moments as people write them.

use super::problem::shown;
use callbox_dialogue::time::Millis;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A span of time: a number and its unit, for example `800ms`, `1.2s`, `2m`, `1h`. Whole milliseconds, at most 49 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Millis);

/// Why a text is no span of time or no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SpanError(String);

impl Span {
    /// Milliseconds.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 as u64
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let wrong = || SpanError(format!("`{}` is no span of time; write for example 800ms, 1.2s or 2m", shown(text)));
        let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(unit_at);
        let scale: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        let (whole, part) = number.trim_end().split_once('.').unwrap_or((number.trim_end(), ""));
        let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit()) && text.len() <= 10;
        if whole.is_empty() || !digits(whole) || !digits(part) || number.trim_end().ends_with('.') {
            return Err(wrong());
        }
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let mut ms = whole * scale;
        let mut worth = scale;
        for digit in part.bytes() {
            let digit = u64::from(digit - b'0');
            // A digit that is worth less than a millisecond has to be 0.
            if digit != 0 && (worth == 0 || !(digit * worth).is_multiple_of(10)) {
                return Err(SpanError(format!("`{}` has parts of a millisecond", shown(text))));
            }
            ms += digit * worth / 10;
            worth /= 10;
        }
        u32::try_from(ms).map(Self).map_err(|_| SpanError(format!("`{}` is longer than 49 days", shown(text))))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0s"),
            ms if ms % 3_600_000 == 0 => write!(f, "{}h", ms / 3_600_000),
            ms if ms % 60_000 == 0 => write!(f, "{}m", ms / 60_000),
            ms if ms < 1_000 => write!(f, "{ms}ms"),
            ms if ms % 1_000 == 0 => write!(f, "{}s", ms / 1_000),
            ms => write!(f, "{}.{}s", ms / 1_000, format!("{:03}", ms % 1_000).trim_end_matches('0')),
        }
    }
}

/// A moment on the wall clock, with its time zone where one was given: `2026-12-01T09:00[Europe/Berlin]`, or
/// `2026-12-01T08:00Z`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment(pub jiff::Zoned);

impl Moment {
    /// Milliseconds since 1970-01-01T00:00Z; 0 for what is earlier.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        u64::try_from(self.0.timestamp().as_millisecond()).unwrap_or(0)
    }

    /// The moment so many milliseconds after 1970-01-01T00:00Z, in UTC. None after the year 9999.
    #[must_use]
    pub fn from_unix_ms(ms: u64) -> Option<Self> {
        let at = jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
        Some(Self(at.to_zoned(jiff::tz::TimeZone::UTC)))
    }
}

impl FromStr for Moment {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let wrong = |why: &dyn fmt::Display| {
            SpanError(format!(
                "`{}` is no moment: {why}; write for example 2026-12-01T09:00[Europe/Berlin] or 2026-12-01T08:00Z",
                shown(text)
            ))
        };
        let zoned = if text.contains('[') {
            text.parse::<jiff::Zoned>().map_err(|error| wrong(&error))?
        } else {
            let at = text.parse::<jiff::Timestamp>().map_err(|error| match text.parse::<jiff::civil::DateTime>() {
                Ok(_) => wrong(&"it lacks the time zone"),
                Err(_) => wrong(&error),
            })?;
            at.to_zoned(jiff::tz::TimeZone::UTC)
        };
        if zoned.timestamp() < jiff::Timestamp::UNIX_EPOCH {
            return Err(wrong(&"it is before 1970"));
        }
        Ok(Self(zoned))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.time_zone() == &jiff::tz::TimeZone::UTC {
            write!(f, "{}", self.0.timestamp())
        } else {
            write!(f, "{}", self.0)
        }
    }
}

/// Reads from a string, writes as one, and says so in the schema.
macro_rules! as_text {
    ($type:ty, $name:literal, $expecting:literal, $pattern:literal, $example:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "examples": [$example] })
            }
        }
    };
}

as_text!(
    Span,
    "Span",
    "a span of time such as 800ms, 1.2s or 2m",
    r"^([0-9]+(\.[0-9]+)? *(ms|s|m|min|h)|.*\$\{.+\}.*)$",
    "1.2s"
);
as_text!(
    Moment,
    "Moment",
    "a moment such as 2026-12-01T09:00[Europe/Berlin]",
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?(\[.+\])?|.*\$\{.+\}.*)$",
    "2026-12-01T09:00[Europe/Berlin]"
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        let cases = [
            ("0s", 0, "0s"),
            ("800ms", 800, "800ms"),
            ("1.2s", 1_200, "1.2s"),
            ("1.250s", 1_250, "1.25s"),
            ("0.005s", 5, "5ms"),
            ("1 s", 1_000, "1s"),
            ("90s", 90_000, "90s"),
            ("2m", 120_000, "2m"),
            ("1.5m", 90_000, "90s"),
            ("0.0001m", 6, "6ms"),
            ("2min", 120_000, "2m"),
            ("24h", 86_400_000, "24h"),
            ("1500ms", 1_500, "1.5s"),
        ];
        for (text, ms, written) in cases {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.0, ms, "{text}");
            assert_eq!(span.to_string(), written);
            assert_eq!(written.parse::<Span>().unwrap(), span);
        }
    }

    #[test]
    fn what_is_no_span_says_what_is_one() {
        for text in
            ["", "5", "s", "-1s", "1,5s", "1.s", ".5s", "1.2.3s", "1sec", "5 weeks", "99999999999s", "1s 2ms", "1e3ms"]
        {
            let error = text.parse::<Span>().unwrap_err().to_string();
            assert!(error.contains("800ms"), "{text}: {error}");
        }
        assert!("1200h".parse::<Span>().unwrap_err().to_string().contains("49 days"));
        assert!("0.5ms".parse::<Span>().unwrap_err().to_string().contains("parts of a millisecond"));
        assert!("0.00005s".parse::<Span>().unwrap_err().to_string().contains("parts of a millisecond"));
        assert!("0.0005s".parse::<Span>().unwrap_err().to_string().contains("parts of a millisecond"));
    }

    #[test]
    fn moments_keep_their_zone() {
        let berlin: Moment = "2026-12-01T09:00[Europe/Berlin]".parse().unwrap();
        assert_eq!(berlin.to_string(), "2026-12-01T09:00:00+01:00[Europe/Berlin]");
        assert_eq!(berlin.to_string().parse::<Moment>().unwrap(), berlin);
        let utc: Moment = "2026-12-01T08:00Z".parse().unwrap();
        assert_eq!(utc.unix_ms(), berlin.unix_ms());
        assert_eq!(utc.to_string().parse::<Moment>().unwrap(), utc);
        assert_eq!(Moment::from_unix_ms(utc.unix_ms()).unwrap(), utc);
    }

    #[test]
    fn moments_that_are_none_say_why() {
        for (text, why) in [
            ("2026-12-01T09:00", "lacks the time zone"),
            ("tomorrow", "2026-12-01T08:00Z"),
            ("2026-13-01T09:00[Europe/Berlin]", "month"),
            ("2026-12-01T09:00[Europe/Bonn]", "Europe/Bonn"),
            ("1960-01-01T00:00Z", "before 1970"),
        ] {
            let error = text.parse::<Moment>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
