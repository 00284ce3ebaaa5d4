//! Times as a person writes them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, Utc};

/// Forms of a time without a zone, which is in UTC.
const FORMS: [&str; 4] = [
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M",
];

/// Reads a time: RFC 3339, a date with or without a time of the day (both in UTC), or the time that
/// has passed since, as in `30m`, `2h` and `7d`. Returns the time in the form of the log. `None` if
/// it is none of these.
#[must_use]
pub fn parse(text: &str, now: DateTime<Utc>) -> Option<String> {
    let text = text.trim();

    let zoned = || Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc());
    let timed = || {
        let mut times = FORMS
            .iter()
            .map(|form| NaiveDateTime::parse_from_str(text, form));
        Some(times.find_map(Result::ok)?.and_utc())
    };
    let date = || {
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        Some(date.and_hms_opt(0, 0, 0)?.and_utc())
    };
    let passed = || now.checked_sub_signed(passed(text)?);

    let time = zoned().or_else(timed).or_else(date).or_else(passed)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// Reads a number with a unit: `s`, `m`, `h` or `d`.
fn passed(text: &str) -> Option<TimeDelta> {
    let unit = text.chars().next_back()?;
    let number: u32 = text.strip_suffix(unit)?.parse().ok()?;

    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };

    TimeDelta::try_seconds(i64::from(number) * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now = DateTime::parse_from_rfc3339("2026-11-30T12:00:00Z")
            .unwrap()
            .to_utc();

        for (text, time) in [
            ("2026-11-29T10:00:00Z", Some("2026-11-29T10:00:00.000Z")),
            (
                "2026-11-29T10:00:00.5+02:00",
                Some("2026-11-29T08:00:00.500Z"),
            ),
            ("2026-11-29 10:00", Some("2026-11-29T10:00:00.000Z")),
            ("2026-11-29T10:00:30", Some("2026-11-29T10:00:30.000Z")),
            ("2026-11-29", Some("2026-11-29T00:00:00.000Z")),
            ("90s", Some("2026-11-30T11:58:30.000Z")),
            ("30m", Some("2026-11-30T11:30:00.000Z")),
            ("2h", Some("2026-11-30T10:00:00.000Z")),
            ("7d", Some("2026-11-23T12:00:00.000Z")),
            ("4294967295d", None),
            ("yesterday", None),
            ("2026-13-01", None),
            ("-2h", None),
            ("h", None),
            ("é", None),
            ("", None),
        ] {
            assert_eq!(parse(text, now).as_deref(), time, "{text}");
        }
    }
}
