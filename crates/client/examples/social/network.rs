//! The network of the example.

use std::collections::{BTreeMap, BTreeSet};

use client::{Client, PutBuilder, Settings, api};
use terms::Detail;

/// Whatever went wrong.
pub(crate) type Failed = Box<dyn std::error::Error>;

const PEOPLE: [(&str, &str); 3] = [("anna", "DE"), ("bert", "DE"), ("aigul", "KZ")];
const POSTS: [(&str, &str, &str); 4] = [
    ("anna", "post-0", "the lake is frozen"),
    ("anna", "post-1", "snow over the city"),
    ("bert", "post-0", "a walk around the lake"),
    ("aigul", "post-0", "apples from the garden by the lake"),
];

/// From a word to the subjects and keys of records. No text stays in it.
type Index = BTreeMap<String, BTreeSet<(String, String)>>;

/// The network: where each person's records lie is all that it knows of people.
struct Network {
    client: Client,
    homes: BTreeMap<String, String>,
}

impl Network {
    fn subject(&self, name: &str) -> api::SubjectRef {
        let domicile = self.homes.get(name).cloned().unwrap_or_default();
        api::SubjectRef { id: name.to_owned(), domicile }
    }

    fn put(&self, name: &str, collection: &str, key: &str) -> Result<PutBuilder, Failed> {
        let api::SubjectRef { id, domicile } = self.subject(name);
        Ok(PutBuilder::new(id, collection, key)?.domicile(domicile))
    }

    /// A profile: the evidence decides the region.
    async fn sign_up(&mut self, name: &str, country: &str) -> Result<String, Failed> {
        let put = self.put(name, "profiles", "profile")?.body(name.to_owned());
        let put = put.create_subject().evidence(api::EvidenceKind::Residence, country);
        let put = put.evidence(api::EvidenceKind::Citizenship, country);
        let written = self.client.put(&put.build()).await?;
        let home = written.subject.as_ref().map_or("", |subject| &subject.domicile).to_owned();
        self.homes.insert(name.to_owned(), home.clone());
        Ok(format!("profile: {name} in {home}"))
    }

    /// Posts, each in the region of its author, all at once.
    async fn post(&self) -> Result<String, Failed> {
        let post = |(name, key, text): &(&str, &str, &'static str)| -> Result<_, Failed> {
            Ok(self.put(name, "profiles", key)?.body(*text).build())
        };
        let puts = POSTS.iter().map(post).collect::<Result<Vec<_>, Failed>>()?;
        let done = self.client.batch_put(&puts).await?;
        Ok(format!("posts: {}", done.iter().filter(|one| one.is_ok()).count()))
    }

    /// All records of a person in a collection.
    async fn records(&self, name: &str, of: &str) -> Result<Vec<api::Record>, Failed> {
        let mut list = self.client.list(api::ListRecordsRequest {
            collection: of.to_owned(),
            subject: Some(self.subject(name)),
            view: api::RecordView::Whole.into(),
            ..Default::default()
        });
        let mut found = Vec::new();
        while let Some(record) = list.next().await? {
            found.push(record);
        }
        Ok(found)
    }

    async fn index(&self) -> Result<Index, Failed> {
        let mut index = Index::new();
        for (name, _) in PEOPLE {
            for record in self.records(name, "profiles").await? {
                if record.key.starts_with("post-") {
                    for word in text(&record).split(' ') {
                        let place = (name.to_owned(), record.key.clone());
                        index.entry(word.to_owned()).or_default().insert(place);
                    }
                }
            }
        }
        Ok(index)
    }

    async fn search(&self, word: &str) -> Result<String, Failed> {
        let index = self.index().await?;
        let names =
            index.get(word).into_iter().flatten().map(|(name, key)| api::GetRecordRequest {
                subject: Some(self.subject(name)),
                collection: "profiles".to_owned(),
                key: key.clone(),
                ..Default::default()
            });
        let found = self.client.batch_get(&names.collect::<Vec<_>>()).await?;
        let texts: BTreeSet<String> = found.iter().flatten().map(text).collect();
        Ok(format!("search {word}: {}", joined(texts)))
    }

    /// A message: in the inbox of its receiver, about its sender too.
    async fn write(&self, message: [&'static str; 4]) -> Result<String, Failed> {
        let [sender, receiver, key, text] = message;
        let api::SubjectRef { id, domicile } = self.subject(sender);
        let put = self.put(receiver, "messages", key)?.body(text).participant(id, domicile);
        let said = match self.client.put(&put.build()).await {
            Ok(_) => format!("in {}", self.subject(receiver).domicile),
            Err(error) => match error.refused() {
                Some(no) => {
                    let pair = no.detail(Detail::Conflicting).unwrap_or_default();
                    format!("{} {pair}", no.reason)
                }
                None => return Err(error.into()),
            },
        };
        Ok(format!("message: {sender} to {receiver} {said}"))
    }

    /// What a person has got, and what names that person elsewhere.
    async fn inbox(&self, name: &str) -> Result<String, Failed> {
        let own = self.records(name, "messages").await?;
        let regions: BTreeSet<String> = self.homes.values().cloned().collect();
        let question = api::CountRecordsRequest {
            collection: "messages".to_owned(),
            regions: regions.into_iter().collect(),
            participant: Some(self.subject(name)),
            ..Default::default()
        };
        let sent = self.client.count(&question).await?.count;
        let texts = own.iter().map(text).collect();
        Ok(format!("inbox: {name} got {} and sent {sent}", joined(texts)))
    }
}

fn text(record: &api::Record) -> String {
    String::from_utf8_lossy(&record.body).into_owned()
}

/// In the order of the alphabet.
fn joined(texts: BTreeSet<String>) -> String {
    texts.into_iter().collect::<Vec<_>>().join(" | ")
}

/// Runs the network over a gateway, and gives what happened.
pub(crate) async fn run(gateway: &str) -> Result<Vec<String>, Failed> {
    let client = Client::connect(gateway, Settings::default()).await?;
    let mut network = Network { client, homes: BTreeMap::new() };
    let mut said = Vec::new();
    for (name, country) in PEOPLE {
        said.push(network.sign_up(name, country).await?);
    }
    said.push(network.post().await?);
    said.push(network.search("lake").await?);
    // The first message of each fixes which laws hold for the inbox: what is known of the person.
    for (name, _) in PEOPLE {
        let welcome = network.put(name, "messages", "welcome")?.body("welcome");
        network.client.put(&welcome.build()).await?;
    }
    for message in [
        ["anna", "bert", "m-1", "hello bert"],
        ["bert", "anna", "m-2", "hello anna"],
        ["anna", "aigul", "m-3", "hello aigul"],
        ["aigul", "anna", "m-4", "hello from afar"],
    ] {
        said.push(network.write(message).await?);
    }
    for (name, _) in PEOPLE {
        said.push(network.inbox(name).await?);
    }
    let put = network.put("bert", "profiles", "post-0")?.build();
    let gone = api::DeleteRecordRequest {
        subject: put.subject,
        collection: put.collection,
        key: put.key,
        request_id: put.request_id,
        ..Default::default()
    };
    network.client.delete(&gone).await?;
    said.push(network.search("lake").await?);
    Ok(said)
}
