//! What is checked of objects without a server.

use super::*;
use crate::host::clock::SystemClock;

fn bucket(endpoint: &str, credentials: &str) -> Result<Bucket, Error> {
    let place = Place { endpoint, bucket: "people", signing_region: "us-east-1" };
    Bucket::new(place, credentials, None, Arc::new(SystemClock))
}

#[test]
fn parts_are_as_large_as_their_number_asks_for() {
    for (object, part) in [
        (0, PART_BYTES),
        (1, PART_BYTES),
        (PART_BYTES * PARTS_MAX, PART_BYTES),
        (PART_BYTES * PARTS_MAX + 1, PART_BYTES + (1 << 20)),
        (5 << 40, 525 << 20),
    ] {
        assert_eq!(part_bytes(object), part, "{object}");
        assert!(object.div_ceil(part) <= PARTS_MAX, "{object}");
    }
}

#[test]
fn what_is_read_back_ends_with_the_first_byte_too_many() {
    let mut found = ReadBack { hash: Context::new(&SHA256), left: Some(5) };
    assert!(found.take(b"abc").is_ok());
    assert!(found.take(b"de").is_ok());
    assert_eq!(found.left, Some(0));
    assert!(found.take(b"f").is_err());
    assert_eq!(found.left, None);
    // It is never taken for a whole one again.
    assert!(found.take(b"").is_err());
}

#[test]
fn an_answer_that_drips_ends() {
    // One byte each time that an answer may pause: the second pause is too long.
    assert!(time_for(2) < GOES_ON_WITHIN * 2);
    assert_eq!(time_for(BYTES_A_SECOND_MIN * 3_600), GOES_ON_WITHIN + GOES_ON_WITHIN * 60);
    assert_eq!(time_for(0), GOES_ON_WITHIN);
}

#[test]
fn credentials_are_two_lines_and_do_not_show() {
    let made = bucket("https://s3.example:443", "id\nvery secret\n");
    assert!(matches!(made, Err(Error::Credentials)));
    for text in ["", "id", "id\n", "id\n\n", "id\nsecret\nmore", "\nid\nsecret"] {
        assert!(
            matches!(bucket("https://s3.example:443", text), Err(Error::Credentials)),
            "{text}"
        );
    }
    let made = bucket("https://s3.example:443", "id\r\nunseen\r\n").unwrap();
    let shown = format!("{made:?}");
    assert!(!shown.contains("unseen"), "{shown}");
    for endpoint in ["http://s3.example", "s3.example", "https://a:b@s3.example"] {
        assert!(bucket(endpoint, "id\nsecret").is_err(), "{endpoint}");
    }
}

#[test]
fn of_what_a_server_says_only_the_code_is_shown() {
    let shown = |answer: &str| {
        refused("give an object", StatusCode::FORBIDDEN, answer.as_bytes()).to_string()
    };
    assert_eq!(
        shown("<Error><Code>AccessDenied</Code><Message>\u{1b}[2J</Message></Error>"),
        "the server did not give an object: 403 Forbidden AccessDenied"
    );
    for answer in ["", "<Code>", "<Code></Code>", "<Code>\u{1b}[2J</Code>"] {
        assert_eq!(shown(answer), "the server did not give an object: 403 Forbidden", "{answer}");
    }
}
