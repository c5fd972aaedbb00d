//! `bailiwick dev --try`: stores records of invented persons through the gateway's public API, and
//! reads them back.

use client::{Client, Error, Proof, api, new_request_id};
use evidence::Evidence;
use link::host::clock::SystemEntropy;
use serde_json::json;

use crate::arguments::to_api;
use crate::error::{Exit, Failure};
use crate::terminal::answers::{refusal_text, why};
use crate::terminal::{say, table};

/// The refusal of a person of whom nothing is known.
const UNDETERMINED: &str = "JURISDICTION_UNDETERMINED";
/// The key of every record that is put here.
const KEY: &str = "main";

/// An invented person.
struct Person {
    who: &'static str,
    subject: &'static str,
    collection: &'static str,
    evidence: &'static [(&'static str, &'static str)],
    body: &'static str,
}

const PEOPLE: &[Person] = &[
    Person {
        who: "lives in Moscow",
        subject: "u-7f31c0",
        collection: "profiles",
        evidence: &[("citizenship", "RU"), ("residence", "RU")],
        body: "{\"nickname\":\"mishka\",\"theme\":\"dark\"}",
    },
    Person {
        who: "lives in Berlin",
        subject: "u-19be44",
        collection: "messages",
        evidence: &[("residence", "DE")],
        body: "Bis morgen, ich bringe Kuchen mit.",
    },
    Person {
        who: "lives in Almaty",
        subject: "u-c2a70d",
        collection: "profiles",
        evidence: &[("document", "KZ"), ("residence", "KZ")],
        body: "{\"nickname\":\"aigul\",\"theme\":\"light\"}",
    },
    Person {
        who: "pays in Mumbai",
        subject: "u-58d9e2",
        collection: "payments",
        evidence: &[("residence", "IN"), ("sim", "404")],
        body: "{\"amount\":\"1299.00\",\"currency\":\"INR\"}",
    },
    Person {
        who: "lives in Ohio",
        subject: "u-e60b13",
        collection: "messages",
        evidence: &[("residence", "US")],
        body: "See you at the game!",
    },
];

/// A person of whom nothing is known that counts: an unassigned mobile country code.
const STRANGER: Person = Person {
    who: "nobody knows",
    subject: "u-000000",
    collection: "profiles",
    evidence: &[("sim", "999")],
    body: "this is stored nowhere",
};

/// Puts, reads back, compares, and shows it. Fails if anything is not as it must be.
pub(super) async fn show(client: &Client, json: bool) -> Result<(), Failure> {
    let mut shown =
        table(&["person", "collection", "evidence", "region", "why", "version", "record"]);
    let (mut wrong, mut again) = (0, false);
    for person in PEOPLE {
        let answer = client.first_time().put(&put(person)?).await.map_err(failed)?;
        let subject = answer.subject.clone().unwrap_or_default();
        let get = api::GetRecordRequest {
            subject: Some(subject.clone()),
            collection: person.collection.to_owned(),
            key: KEY.to_owned(),
            purpose: "a demonstration".to_owned(),
            ..Default::default()
        };
        let record = client.get(&get).await.map_err(failed)?;
        let same = record.body == person.body.as_bytes()
            && record.version == answer.version
            && matches!(answer.proof, Proof::Receipt(_));
        wrong += usize::from(!same);
        again |= answer.version > 1;
        let evidence = person.evidence.iter().map(|(kind, value)| format!("{kind}={value}"));
        let evidence: Vec<String> = evidence.collect();
        let why = answer.ruling.as_ref().map(why).unwrap_or_default();
        if json {
            let receipt = answer.receipt.as_ref();
            say(json!({
                "person": person.who, "subject": person.subject, "collection": person.collection,
                "evidence": evidence, "region": subject.domicile, "reasons": why,
                "version": answer.version, "read_back": same,
                "log": receipt.map(|receipt| &receipt.origin),
                "entry": receipt.map(|receipt| receipt.index),
            }))?;
            continue;
        }
        // The client has checked the receipt against what was sent.
        let checked = match &answer.receipt {
            Some(receipt) if same => format!(
                "read back, byte for byte\nreceipt verified: {} entry {}",
                receipt.origin, receipt.index
            ),
            Some(_) | None => "DIFFERS FROM WHAT WAS STORED".to_owned(),
        };
        shown.add_row([
            person.who.to_owned(),
            person.collection.to_owned(),
            evidence.join("\n"),
            subject.domicile,
            why.join("\n"),
            answer.version.to_string(),
            checked,
        ]);
    }
    if !json {
        say(shown)?;
    }
    if again && !json {
        say("They existed from an earlier run: each has a new version now.")?;
    }
    refused(client, json).await?;
    match wrong {
        0 if json => Ok(()),
        0 => say(
            "\nEach record was stored in the region that the rules give, and read back from it.",
        ),
        _ => {
            Err(Failure::said(Exit::Failed, format!("{wrong} records differ from what was stored")))
        }
    }
}

/// Shows one "no", which stores nothing.
async fn refused(client: &Client, json: bool) -> Result<(), Failure> {
    match client.put(&put(&STRANGER)?).await {
        Err(Error::Refused(refused)) if json && refused.reason == UNDETERMINED => {
            say(json!({"person": STRANGER.who, "refuse": refused.reason, "cure": refused.cure}))
        }
        Err(Error::Refused(refused)) if refused.reason == UNDETERMINED => {
            say(format!(
                "\nSomebody of whom {} anything is refused, and stored nowhere:",
                STRANGER.who
            ))?;
            say(refusal_text(&refused))
        }
        Err(error) => Err(failed(error)),
        Ok(_) => Err(Failure::said(Exit::Failed, "a record was stored although no rule places it")),
    }
}

fn put(person: &Person) -> Result<api::PutRecordRequest, Failure> {
    let item = |(n, (kind, value)): (usize, &(&str, &str))| {
        Evidence::read(n, kind, (*value).to_owned())
            .map_err(|fault| Failure::new(Exit::Failed, fault))
    };
    let items: Result<Vec<Evidence>, Failure> =
        person.evidence.iter().enumerate().map(item).collect();
    let request_id = new_request_id(&SystemEntropy);
    Ok(api::PutRecordRequest {
        subject: Some(api::SubjectRef { id: person.subject.to_owned(), domicile: String::new() }),
        collection: person.collection.to_owned(),
        key: KEY.to_owned(),
        body: person.body.into(),
        request_id: request_id.map_err(|e| Failure::new(Exit::Unavailable, e))?.to_string(),
        create_subject: true,
        evidence: to_api(&items?),
        ..Default::default()
    })
}

fn failed(error: Error) -> Failure {
    match error.refused() {
        Some(refused) => Failure::said(Exit::Failed, refusal_text(refused)),
        None => Failure::new(Exit::Failed, error),
    }
}
