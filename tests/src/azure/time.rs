//! Parsing and formatting of Azure's timestamps. No function here reads the clock.

/// Parses `2026-11-21T01:00:00Z` as seconds since 1970, without fractions of a second.
pub(super) fn instant(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, separator| -> Option<Vec<i64>> {
        let whole = text.split('.').next()?;
        whole.split(separator).map(|part| part.parse().ok()).collect()
    };
    let ([year, month, day], [hour, minute, second]) = (
        numbers(date, '-')?.try_into().ok()?,
        numbers(time, ':')?.try_into().ok()?,
    );
    let _: (i64, i64) = (month, day);
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The days since 1970. Years start in March, so that the leap day is the last day of a year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Formats seconds since 1970.
pub(super) fn written(seconds: i64) -> String {
    let (day, second) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (date, month) = (day - (153 * month + 2) / 5 + 1, (month + 2) % 12 + 1);
    let year = era * 400 + year + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2024-12-31T12:00:00Z", 1_735_646_400),
            ("2026-11-21T01:02:03Z", 1_795_222_923),
        ] {
            assert_eq!(instant(text), Some(seconds), "{text}");
            assert_eq!(written(seconds), text);
        }
        assert_eq!(instant("2026-11-21T01:02:03.5Z"), Some(1_795_222_923));
        assert_eq!(instant("PT5M"), None);
    }
}
