//! Arguments that several commands take, and what they stand for.

pub(crate) mod access;
mod evidence;
mod gateway;
mod packs;
pub(crate) mod sealing;

pub(crate) use evidence::to_api;
pub(crate) use gateway::{CALL_ATTEMPTS_MAX, Gateway, connect};
pub(crate) use packs::{Packs, mistakes};

/// The address of the gateway by default.
pub(crate) const GATEWAY: &str = "http://127.0.0.1:7400";

/// Minutes of a day.
const DAY: u64 = 24 * 60;

/// A day such as 2026-11-25.
pub(crate) fn day(text: &str) -> Result<atlas::Date, &'static str> {
    atlas::Date::parse(text).ok_or("is not a day such as 2026-11-25")
}

/// A day's first minute, or a minute, since 1970-01-01T00:00Z.
pub(crate) fn minute(text: &str) -> Result<u64, &'static str> {
    const FORM: &str = "is neither a day such as 2026-11-25 nor a minute such as 2026-11-25T14:30Z";
    let (day, time) = text.split_once('T').map_or((text, None), |(day, time)| (day, Some(time)));
    let day = u64::from(atlas::Date::parse(day).ok_or(FORM)?.day());
    let Some(time) = time else { return Ok(day * DAY) };
    let (hours, minutes) =
        time.strip_suffix('Z').and_then(|time| time.split_once(':')).ok_or(FORM)?;
    let number = |text: &str, below: u64| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number: &u64| digits && *number < below).ok_or(FORM)
    };
    Ok(day * DAY + number(hours, 24)? * 60 + number(minutes, 60)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_day_or_a_minute() {
        assert_eq!(minute("1970-01-02"), Ok(DAY));
        assert_eq!(minute("1970-01-02T00:30Z"), Ok(DAY + 30));
        for bad in ["", "1970", "1970-01-02T", "1970-01-02T1:30Z", "1970-01-02T24:00Z"] {
            assert!(minute(bad).is_err(), "{bad}");
        }
    }
}
