//! Times in the form that touch(1) takes.

/// Seconds of a day.
const DAY: u32 = 86_400;

/// Returns a time as `CCYYMMDDhhmm.SS` in UTC, from seconds since 1970.
pub(super) fn for_touch(seconds: u32) -> String {
    let (day, second) = (seconds / DAY, seconds % DAY);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    // Counted from March of the year 0, so that a leap day is the last day of a year. Each era has
    // 400 years.
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = era * 400 + year + later;

    format!(
        "{year:04}{month:02}{date:02}{hour:02}{minute:02}.{:02}",
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_of_the_calendar() {
        for (seconds, expected) in [
            (0, "197001010000.00"),
            (951_782_399, "200002282359.59"),
            (951_782_400, "200002290000.00"),
            (951_868_800, "200003010000.00"),
            (1_577_934_245, "202001020304.05"),
            (4_107_542_400, "210003010000.00"),
            (u32::MAX, "210602070628.15"),
        ] {
            assert_eq!(for_touch(seconds), expected, "{seconds}");
        }
    }
}
