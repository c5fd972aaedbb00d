//! Personal data has no way into a text but `expose`.

use terms::{Pii, RecordKey, SubjectId};

fn stored(_: &impl serde::Serialize) {}

fn main() {
    let name = Pii::new(String::from("anna"));
    println!("{name:?}");
    println!("{name}");
    let _text: String = name.to_string();
    stored(&name);
    let _inner: String = name.0;

    let subject = SubjectId::parse("anna").unwrap();
    println!("{subject}");
    stored(&subject);

    let key = RecordKey::parse("passport of anna").unwrap();
    println!("{key}");
    stored(&key);
}
