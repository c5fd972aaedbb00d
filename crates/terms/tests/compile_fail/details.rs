//! What may stand beside a reason is a closed set: no key of one's own, no map of texts.

use terms::{Detail, Rejection, Reason};

fn main() {
    let _text = Rejection::new(Reason::Internal).with("subject", "anna");
    let _reason = Rejection::new("SUBJECT_UNKNOWN");
    let _key = Detail::Other(String::from("subject"));
    let _cast = Detail::from("subject");
}
