//! What time it is at the other end: an HTTP server says it with every answer.

use std::time::{SystemTime, UNIX_EPOCH};

use tonic::metadata::MetadataMap;

/// The header (RFC 9110, section 6.6.1).
const DATE: &str = "date";

/// What time it is here, in seconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "a published key has a time, which a caller's clock tells"
)]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The time of an answer in seconds since 1970, if it says one.
pub(crate) fn of_answer(metadata: &MetadataMap) -> Option<u64> {
    let date = metadata.get(DATE)?.to_str().ok()?;
    let time: SystemTime = httpdate::parse_http_date(date).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_date_is_read() {
        let mut metadata = MetadataMap::new();
        assert_eq!(of_answer(&metadata), None);
        metadata.insert(DATE, "Sun, 29 Nov 2026 15:41:00 GMT".parse().unwrap());
        assert_eq!(of_answer(&metadata), Some(1_795_966_860));
        metadata.insert(DATE, "soon".parse().unwrap());
        assert_eq!(of_answer(&metadata), None);
    }
}
